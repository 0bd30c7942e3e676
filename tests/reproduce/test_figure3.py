"""Figure 3: potentials against the neuron equation in a loop, which clips are chosen, and what is written."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from hw_targets.finding import InputError, UnsupportedError, VerificationError
from neuroemo import cli
from neuroemo.datasets.store import ClipStore
from neuroemo.models.emotion import build_network, spec_by_name
from neuroemo.reproduce.figure3_document import Answered, named_clips, typical_clips
from neuroemo.reproduce.potentials import VotingRecord, _verify, group_rates, record_voting_neurons
from neuroemo.training.checkpoint import save_model
from neuroemo.training.evaluation import votes_of
from neuroemo.training.loop import describe
from tests.conftest import random_clips, spiking_network
from tests.reproduce.small_store import small_store


@pytest.mark.parametrize("neuron", ["plif", "lif"])
def test_potentials_are_those_of_the_equation_written_out(neuron):
    network, spec = spiking_network(neuron=neuron)
    clips = random_clips(spec, 3, 5)
    record = record_voting_neurons(network, spec, clips)
    inputs = []
    hook = network.voting_neurons[0].register_forward_hook(lambda m, i, output: inputs.append(output.detach().numpy()))
    votes = votes_of(network, spec, clips)
    hook.remove()
    currents = inputs[0].astype(np.float64)
    tau = 1 + np.exp(-float(network.voting_neurons[1].w)) if neuron == "plif" else 2.0
    assert record.tau == pytest.approx(tau, rel=1e-6)
    fired = np.zeros_like(currents)
    for clip in range(3):
        for k in range(20):
            v = 0.0
            for t in range(spec.steps):
                h = v + (currents[t, clip, k] - v) / tau
                assert record.potentials[t, clip, k] == pytest.approx(h, abs=1e-6)
                fired[t, clip, k] = h >= spec.threshold
                v = 0.0 if fired[t, clip, k] else h
    np.testing.assert_array_equal(record.spikes, fired)
    assert 0 < fired.mean() < 1
    by_group = fired.reshape(spec.steps, 3, 2, 10).mean(axis=(0, 3))
    np.testing.assert_allclose(group_rates(record.spikes, 10), by_group)
    np.testing.assert_allclose(votes.mean(axis=0), by_group, atol=1e-6)


def test_potentials_that_do_not_explain_the_spikes_are_no_figure():
    potentials = np.array([[[0.5, 0.1]]])
    _verify(VotingRecord(potentials, np.array([[[True, False]]]), 0.4, 2.0), "net")
    with pytest.raises(VerificationError, match="E944 net: 1 of 2 spikes do not follow from the potentials"):
        _verify(VotingRecord(potentials, np.array([[[True, True]]]), 0.4, 2.0), "net")


def test_networks_without_potentials_are_refused():
    spec = spec_by_name("tiny-ann")
    with pytest.raises(UnsupportedError, match="E944 tiny-ann: an ANN has no membrane potentials"):
        record_voting_neurons(build_network(spec), spec, np.zeros((8, 1, 2, 32, 32), np.float32))
    with pytest.raises(UnsupportedError, match="E944 tiny: a network on a chip's grid"):
        record_voting_neurons(torch.nn.Identity(), spec_by_name("tiny"), np.zeros((8, 1, 2, 32, 32), np.float32))


def answered(leads, right):
    rates = np.array([[0.5 + lead, 0.5] for lead in leads])
    labels = np.array([0 if good else 1 for good in right])
    return Answered(rates, rates.argmax(axis=1), labels, tuple(f"clip{number}" for number in range(len(leads))))


def test_the_clip_in_the_middle_of_its_kind_is_drawn():
    (right, why), (wrong, why_not) = typical_clips(answered([0.3, 0.1, 0.2, 0.4, 0.05, 0.15], [1, 1, 1, 1, 0, 0]))
    assert (right, wrong) == (2, 4)
    assert why == "the one with the median lead among the 4 clips answered rightly"
    assert why_not == "the one with the median lead among the 2 clips answered wrongly"


def test_without_a_wrong_answer_the_narrowest_right_one_is_drawn_and_called_so():
    (_, _), (narrow, why) = typical_clips(answered([0.3, 0.1, 0.2], [1, 1, 1]))
    assert narrow == 1
    assert why == "no clip is answered wrongly: this is the narrowest of the 3 right answers"
    (narrow, why), (_, _) = typical_clips(answered([0.3, 0.1], [0, 0]))
    assert (narrow, why) == (1, "no clip is answered rightly: this is the narrowest of the 2 wrong answers")


def test_clips_are_named_or_refused_with_similar_names():
    found = answered([0.1, 0.2, 0.3], [1, 1, 0])
    assert named_clips(found, ("clip2",)) == [(2, "chosen by name")]
    with pytest.raises(InputError, match=r"E942 --clip: no clips named 'clip7' among 3; limit 1\n.*clip2"):
        named_clips(found, ("clip7",))
    with pytest.raises(InputError, match="3 clips, 2 different; limit one or two different clips"):
        named_clips(found, ("clip0", "clip1", "clip1"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figure3")
    small_store(folder / "clips.h5", clips=48)
    network, spec = spiking_network()
    with ClipStore.open(folder / "clips.h5") as store:
        save_model(folder / "net", network, describe(spec, store))
    (folder / "net" / "training.json").write_text(json.dumps({"data": str(folder / "clips.h5")}))
    return folder


def test_the_verb_draws_any_checkpoint(capsys, trained, tmp_path):
    arguments = ["reproduce", "figure3", "--model", str(trained / "net"), "-o", str(tmp_path), "--json", "-q"]
    assert cli.run(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    network, spec = spiking_network()
    with ClipStore.open(trained / "clips.h5") as store:
        indices = store.indices("test")
        spikes = np.rint(votes_of(network, spec, store.batch(indices)) * 10).sum(axis=0)
        labels = store.labels[indices]
        names = [store.names[index] for index in indices]
    right = spikes.argmax(axis=1) == labels
    assert (told["clips"], told["correct"]) == (12, int(right.sum()))
    assert [one["correct"] for one in told["examples"]] == [True, False]
    for one in told["examples"]:
        place = names.index(one["clip"])
        assert list(one["group_spikes"].values()) == spikes[place].tolist()
        assert one["label"] == ("down", "up")[labels[place]]
        assert np.array(one["spikes"]).shape == np.array(one["potentials"]).shape == (20, 8)
        assert (np.array(one["potentials"]) >= 0.4).astype(int).tolist() == one["spikes"]
        rates = np.array(one["spikes"]).reshape(2, 10, 8).mean(axis=(1, 2))
        np.testing.assert_allclose(list(one["rates"].values()), rates)
    svg = (tmp_path / "figure3.svg").read_bytes()
    assert (tmp_path / "figure3.pdf").read_bytes().startswith(b"%PDF")
    assert cli.run([*arguments, "--clip", names[0]]) == 0
    assert [one["clip"] for one in json.loads(capsys.readouterr().out)["examples"]] == [names[0]]
    assert cli.run(arguments) == 0
    assert (tmp_path / "figure3.svg").read_bytes() == svg


def test_options_of_training_mean_nothing_beside_a_trained_network(capsys, trained, tmp_path):
    wrong = ["--epochs", "3", "--quick", "--size", "32"]
    arguments = ["reproduce", "figure3", "--model", str(trained / "net"), "-o", str(tmp_path / "x"), "--json", *wrong]
    assert cli.run(arguments) == 2
    found = json.loads(capsys.readouterr().out)["findings"]
    assert [(one["code"], one["node"]) for one in found] == [
        ("E940", "--size"),
        ("E940", "--quick"),
        ("E940", "--epochs"),
    ]
    assert not (tmp_path / "x").exists()
