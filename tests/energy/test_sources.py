"""MODEL in each of its forms, the clips for it, and what is refused before anything is counted."""

from __future__ import annotations

import numpy as np
import pytest

from hw_targets.finding import InputError
from neuroemo.deployment.model import ModelOptions
from neuroemo.energy.sources import open_source, shown_path

OPTIONS = ModelOptions(input_shape=(2, 8, 8), steps=6)


def refused(*arguments, **more):
    with pytest.raises(InputError) as error:
        open_source(*map(str, arguments[:1]), *arguments[1:], **more)
    return [(finding.code, finding.node) for finding in error.value.findings], error.value.findings[0]


def test_a_checkpoint_has_every_form(made):
    source = open_source(str(made.net), made.clips)
    assert (source.form, source.network, source.first_frame) == ("checkpoint", "tiny", "float")
    assert source.deployment is not None
    assert source.module is not None
    assert source.spec == made.spec
    assert source.classes == ("calm", "glad")
    assert source.labels.tolist() == [0, 1, 0, 1, 0]
    assert len(source.positions) == 5
    assert source.split is None
    assert not source.wraps


def test_the_weight_file_of_a_checkpoint_alone_will_do(made):
    source = open_source(str(made.net / "model.safetensors"), made.clips)
    assert (source.form, source.network) == ("checkpoint", "tiny")


def test_a_bundle_of_a_checkpoint_knows_its_twin(made):
    source = open_source(str(made.bundle), made.clips)
    assert (source.form, source.module, source.spec) == ("bundle", None, made.spec)
    assert source.findings == ()
    assert source.labels.tolist() == [0, 1, 0, 1, 0]


def test_a_bundle_of_a_stranger_and_a_bare_file_stand_alone(strangers):
    for model, form, wraps in ((strangers.bundle, "bundle", False), (strangers.net, "netx", True)):
        source = open_source(str(model), strangers.clips)
        assert (source.form, source.module, source.spec, source.wraps) == (form, None, None, wraps)
        assert [finding.code for finding in source.findings] == ["W882"]


def test_a_module_is_taken_live(strangers):
    source = open_source("tests.stranger:good", strangers.clips, options=OPTIONS)
    assert (source.form, source.deployment, source.graph) == ("module", None, None)
    assert source.module is not None
    assert [finding.code for finding in source.findings] == ["W645", "W882"]


def test_a_nir_file_is_taken_as_a_graph(strangers):
    pytest.importorskip("nir")
    source = open_source(str(strangers.bundle / "model.nir"), strangers.clips, options=ModelOptions(steps=6))
    assert (source.form, source.module) == ("nir", None)
    assert len(source.graph.neurons()) == 2


def test_limit_spreads_over_the_clips(made):
    assert open_source(str(made.net), made.clips, limit=3).positions.tolist() == [0, 2, 4]
    assert len(open_source(str(made.net), made.clips, limit=99).positions) == 5
    assert refused(made.net, made.clips, limit=0)[0] == [("E883", "--limit")]


def test_labels_may_be_unknown(made):
    assert open_source(str(made.net), made.unlabelled).labels is None


@pytest.mark.parametrize("model", ["bundle", "tests.stranger:good"])
def test_without_clips_nothing_is_made_up(made, model):
    name = made.bundle if model == "bundle" else model
    options = None if model == "bundle" else OPTIONS
    found, finding = refused(name, None, options=options)
    assert found == [("E880", "--data")]
    assert "--data" in finding.fix


def test_options_of_modules_mean_nothing_for_a_bundle_or_a_checkpoint(made):
    found, _ = refused(made.bundle, made.clips, options=OPTIONS)
    assert found == [("E883", "--input-shape"), ("E883", "--steps")]
    assert {code for code, _ in refused(made.net, made.clips, options=OPTIONS)[0]} == {"E642"}


def test_a_split_of_an_array_means_nothing(made):
    assert refused(made.net, made.clips, split="test")[0] == [("E883", "--split")]
    assert refused(made.bundle, made.clips, split="test")[0] == [("E687", "--split")]


def test_wrong_files(made, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.net").write_bytes(b"nothing" * 30)
    (tmp_path / "x.pt").write_bytes(b"pickled")
    for model, code in (
        (tmp_path / "none", "E640"), (tmp_path / "empty", "E063"), (tmp_path / "x.net", "E041"),
        (tmp_path / "x.pt", "E641"), ("tests.stranger:nothing", "E646"), (made.net / "model.json", "E644"),
    ):  # fmt: skip
        options = OPTIONS if ":" in str(model) else None
        assert refused(model, made.clips, options=options)[0][0][0] == code


def test_clips_that_do_not_fit_or_are_none(made, tmp_path):
    np.save(tmp_path / "none.npy", np.zeros((0, 8, 2, 32, 32), np.float32))
    np.save(tmp_path / "small.npy", np.zeros((3, 8, 2, 16, 16), np.float32))
    assert refused(made.net, tmp_path / "none.npy")[0][0][0] == "E672"
    assert refused(made.net, tmp_path / "small.npy")[0][0][0] == "E655"
    assert refused(made.net, tmp_path / "gone.npy")[0][0][0] == "E653"


def test_a_store_without_clips_in_the_split(made, monkeypatch):
    from neuroemo.deployment import clips

    empty = clips.ArrayClips(np.zeros((8, 0, 2, 32, 32), np.float32), None, "nothing")
    monkeypatch.setattr(clips, "array_clips", lambda *_: empty)
    found, finding = refused(made.net, made.clips)
    assert found == [("E881", "clips.npz")]
    assert finding.limit == "at least 1"


def test_no_path_of_a_machine_is_told(made, monkeypatch):
    source = open_source(str(made.net), made.clips)
    assert (source.model, source.data) == ("net", "clips.npz")
    monkeypatch.chdir(made.folder)
    assert open_source("net", made.clips).data == "clips.npz"
    assert shown_path(made.folder / "net") == "net"
