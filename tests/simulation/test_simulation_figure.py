"""Figures of a simulated run: the numbers behind them and what is drawn."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from neuroemo.simulation import figure, figure_data
from neuroemo.simulation.figure import write_figures
from tests.simulation.figure_parts import STEPS, SVG, Page, handmade, paths_of


def test_votes_equal_a_count_by_hand_and_the_deciding_step_a_brute_force():
    rng = np.random.default_rng(0)
    for _ in range(300):
        classes, voting, steps = rng.integers(1, 5), rng.integers(1, 4), rng.integers(1, 12)
        spikes = (rng.random((steps, classes * voting)) < 0.15).astype(np.uint8)
        course = figure_data.vote_course(spikes, voting)
        answers = []
        for step in range(steps):
            votes = [int(spikes[: step + 1, c * voting : (c + 1) * voting].sum()) for c in range(classes)]
            assert course.cumulative[step].tolist() == votes
            answers.append(votes.index(max(votes)) if any(votes) else None)
        assert course.tied == (votes.count(max(votes)) > 1)
        assert course.predicted == votes.index(max(votes))
        if answers[-1] is None:
            assert course.decided is None
        else:
            same = [all(a == answers[-1] for a in answers[step:]) for step in range(steps)]
            assert course.decided == same.index(True) + 1


def test_the_answer_is_the_one_that_the_readout_gives(ran, page):
    from hw_targets.readout import predicted_class

    run, chip, _ = ran
    names = ["sad", "calm", "glad"]
    wanted = [names[index] for index in predicted_class(run.output, chip.voting)]
    assert re.findall(r"Answer: (\w+) \.", page.text) == wanted


def test_events_are_counted_without_the_gray_frame(ran):
    clips = ran[2]
    course = figure_data.input_course(clips[:, 1], "float")
    assert course.gray
    assert course.counts[:, 0].tolist() == [0, 0]
    assert course.counts[0, 5] == int(clips[5, 1, 0].sum())
    assert course.counts[1, 7] == int(clips[7, 1, 1].sum())
    assert course.counts.sum() > 0


def test_a_gray_frame_is_known_by_its_values_where_the_first_layer_runs_on_the_host(ran):
    assert figure_data.input_course(ran[2][:, 0], "spikes").gray
    assert not figure_data.input_course(np.ones((3, 2, 1, 1)), "spikes").gray


def test_signed_input_is_counted_by_sign():
    course = figure_data.input_course(np.array([[1, -2, 0], [0, -1, -1]]), "integers")
    assert course.names == ("positive", "negative")
    assert course.counts.tolist() == [[1, 0], [1, 2]]


def test_counts_come_from_the_run_where_it_has_them():
    spikes = np.array([[[1, 1]], [[0, 1]]], np.uint8)
    run = SimpleNamespace(spikes={"b": spikes}, counts={"a": np.array([[5], [6]])})
    counts = figure_data.message_counts(run)
    assert counts["a"].tolist() == [[5], [6]]
    assert counts["b"].tolist() == [[2], [1]]


@pytest.mark.parametrize("shape", [(2000,), (2001,), (40, 50, 50), (32, 126, 126), (7, 11, 13)])
def test_a_sample_of_neurons_covers_the_map_and_is_no_single_column_of_it(shape):
    chosen, distance = figure_data.sampled_neurons(shape)
    size = int(np.prod(shape))
    assert len(chosen) <= figure_data.RASTER_NEURONS
    assert (distance == 1) == (size <= figure_data.RASTER_NEURONS)
    assert chosen[0] == 0
    assert size - chosen[-1] <= distance
    if len(shape) == 3 and distance > 1:
        assert all(
            len(set(axis.tolist())) == side for axis, side in zip(np.unravel_index(chosen, shape), shape, strict=True)
        )


def test_thresholds_are_those_of_the_channel():
    _, chip = handmade((2, 1, 2), threshold=np.array([3, 7]))
    assert figure_data.thresholds_of(chip.layers[0], np.arange(4)).tolist() == [192, 192, 448, 448]
    assert figure_data.thresholds_of(chip.layers[0], np.array([3])).tolist() == [448]
    _, chip = handmade(neuron="sigma_delta")
    assert figure_data.thresholds_of(chip.layers[0], np.arange(4)) is None


def test_every_spike_is_one_mark_and_one_reset_above_the_threshold(ran, page):
    run, chip, _ = ran
    for index, drawing in enumerate(page.named("Voting neurons")):
        spikes = int(run.output[:, index].sum())
        assert spikes > 10
        # One subpath per spike: rows of ten neurons per class stand apart.
        assert sum(data.count("M") for data in paths_of(drawing, "mark")) == spikes
        resets = "".join(paths_of(drawing, "reset"))
        assert resets.count("M") == resets.count("V") == spikes
    limits = [
        float(each.get("y1"))
        for each in page.named("Voting neurons")[0].iter(f"{SVG}line")
        if each.get("class") == "threshold"
    ]
    assert len(limits) == 3  # one per class
    drawn = page.named("Voting neurons")[0]
    for limit, data in zip(limits, paths_of(drawn, "reset"), strict=True):
        starts = [float(y) for _, y in re.findall(r"M([\d.]+) ([\d.]+)V", data)]
        assert starts
        assert all(y < limit for y in starts)  # up is less
    assert chip.layers[-1].threshold == 300


def test_a_potential_is_drawn_to_scale_and_falls_to_zero_at_a_spike(tmp_path):
    membrane = np.array([3200, 6400, 9600, 3200, 0, -3200]).reshape(6, 1, 1)
    spikes = (membrane > 100 << 6).astype(np.uint8)
    run, chip = handmade((1,), 1, spikes=spikes, membrane=membrane)
    drawing = Page(write_figures(run, chip, tmp_path, ["c"])[0].read_text()).named("Voting")[0]
    (data,) = paths_of(drawing, "trace")
    first, second = (re.findall(r"([\d.]+) ([\d.]+)", part) for part in data.replace("h0", "").split("M")[1:])
    y = [float(value) for _, value in first + second]
    unit = y[0] - y[1]  # 3,200 chip units
    assert unit > 5
    zero = y[1] + 2 * unit
    assert np.allclose(
        y, [zero - unit, zero - 2 * unit, zero - 3 * unit, zero, zero - unit, zero, zero + unit], atol=0.05
    )
    x = [float(value) for value, _ in first + second]
    assert x[2] == x[3]  # the reset is at the step of the spike
    limit = next(float(each.get("y1")) for each in drawing.iter(f"{SVG}line") if each.get("class") == "threshold")
    assert limit == pytest.approx(zero - 2 * unit, abs=0.05)  # 6,400 does not exceed it and 9,600 does
    words = [each.text for each in drawing.iter(f"{SVG}text")]
    assert "1 θ" in words
    assert "5,000" in words


def test_the_page_says_who_wins_from_when_and_by_how_much(tmp_path):
    spikes = np.zeros((6, 1, 4), np.uint8)
    spikes[1, 0, 0] = spikes[3, 0, 2] = spikes[4, 0, 3] = 1
    run, chip = handmade(spikes=spikes)
    text = Page(write_figures(run, chip, tmp_path, ["c"], ["no", "yes"])[0].read_text()).text
    assert "Answer: yes . The answer no longer changes from step 5 on." in text
    assert "2 votes · the answer" in text
    assert "final from step 5" in text
    assert "no: 1 vote; yes: 2 votes, the answer" in text
    assert "Not all potentials were recorded; probe out to see them." in text
    assert "The clip itself was not given." in text


def test_a_silent_clip_has_no_deciding_step(tmp_path):
    run, chip = handmade()
    text = Page(write_figures(run, chip, tmp_path, ["c"])[0].read_text()).text
    assert "No voting neuron fired" in text
    assert "final from" not in text


def test_of_many_classes_those_with_most_votes_are_drawn_and_the_page_says_so(tmp_path):
    spikes = np.zeros((6, 1, 40), np.uint8)
    for index, votes in ((3, 5), (9, 4), (17, 4), (21, 3), (30, 2), (39, 1)):
        spikes[:votes, 0, index] = 1
    run, chip = handmade((40,), 1, spikes=spikes)
    page = Page(write_figures(run, chip, tmp_path, ["c"])[0].read_text())
    assert "The classes with most votes; 34 more are not drawn." in page.text
    words = [each.text for each in page.named("Voting")[0].iter(f"{SVG}text")]
    assert [word for word in words if word.startswith("class ")] == [f"class {i}" for i in (3, 9, 17, 21, 30, 39)]


def test_sigma_delta_neurons_have_no_threshold_and_no_reset_and_negative_messages_differ_in_shape(tmp_path):
    spikes = np.array([5, 0, -3, 0, 0, 2], np.int32).reshape(6, 1, 1)
    membrane = np.array([900, 900, 500, 500, 500, 800]).reshape(6, 1, 1)
    run, chip = handmade((1,), 1, neuron="sigma_delta", spikes=spikes, membrane=membrane)
    page = Page(write_figures(run, chip, tmp_path, ["c"])[0].read_text())
    drawing = page.named("Voting")[0]
    assert "".join(paths_of(drawing, "reset")) == ""
    assert not [each for each in drawing.iter(f"{SVG}line") if each.get("class") == "threshold"]
    heights = {
        css: [abs(float(b) - float(a)) for a, b in re.findall(r" ([\d.]+)V([\d.]+)", "".join(paths_of(drawing, css)))]
        for css in ("s-k0", "s-minus")
    }
    assert len(heights["s-k0"]) == 2
    assert len(heights["s-minus"]) == 1
    assert heights["s-minus"][0] < 0.7 * heights["s-k0"][0]
    assert "4 votes · the answer" in page.text
    assert "sum of the messages" in page.text
    assert "no threshold of the potential to draw" in page.text


def test_a_probe_of_chosen_neurons_names_them(tmp_path):
    spikes = (np.random.default_rng(1).random((6, 1, 2, 3, 4)) < 0.3).astype(np.uint8)
    run, chip = handmade((2, 3, 4), 12, spikes=spikes, membrane=np.full((6, 1, 2), 7000))
    text = Page(write_figures(run, chip, tmp_path, ["c"], probed={"out": [5, 23]})[0].read_text()).text
    assert "neuron [0, 1, 1]" in text
    assert "neuron [1, 2, 3]" in text
    assert "All probed neurons (of 2)." in text


def test_a_layer_of_which_only_the_potential_is_known_fires_where_it_exceeds_the_threshold(ran, tmp_path):
    run, chip, clips = ran
    only_output = SimpleNamespace(spikes={"fc1": run.output}, membrane=run.membrane)
    page = Page(write_figures(only_output, chip, tmp_path, ["a", "b", "c"], None, clips)[0].read_text())
    assert "The spikes of this layer were not recorded." in page.text
    busiest = np.sort(run.spikes["conv1"][:, 0].reshape(STEPS, -1).sum(axis=0))[::-1][: figure.TRACES]
    marks = "".join(paths_of(page.named("Membrane potentials of conv1")[0], "mark"))
    assert marks.count("M") == busiest.sum() > 0


def test_many_neurons_many_steps_and_many_clips_are_cut_and_the_page_says_so(tmp_path):
    rng = np.random.default_rng(2)
    spikes = (rng.random((2100, 8, 2)) < 0.1).astype(np.uint8)
    run, chip = handmade((2,), 1, steps=2100, spikes=spikes)
    page = Page(write_figures(run, chip, tmp_path, [f"c{i}" for i in range(8)])[0].read_text())
    assert "The first 2,000 of 2,100 steps are drawn; votes are counted over all." in page.text
    assert f"The first {figure.CLIPS} of 8 clips are drawn." in page.text
    assert f"{int(spikes[:, 0, 0].sum()):,} votes" in page.text
    spikes = (rng.random((4, 1, 3, 40, 40)) < 0.5).astype(np.uint8)
    run, chip = handmade((3, 40, 40), 2400, steps=4, spikes=spikes, membrane=np.zeros((4, 1, 3, 40, 40), int))
    page = Page(write_figures(run, chip, tmp_path, ["c"])[0].read_text())
    assert "Voting neurons, the first drawn" in page.text
    assert "Potentials of the 40 neurons of each class that fire most." in page.text
    assert float(page.named("Voting")[0].get("viewBox").split()[3]) < 1000


def test_a_raster_of_a_sampled_layer_says_which_neurons_it_shows(tmp_path):
    rng = np.random.default_rng(2)
    spikes = (rng.random((4, 1, 3, 40, 40)) < 0.5).astype(np.uint8)
    run, chip = handmade((3, 40, 40), 1, steps=4, spikes=spikes, membrane=np.zeros((4, 1, 3, 40, 40), int))
    page = Page(write_figures(run, chip, tmp_path, ["c"])[0].read_text())
    assert "Neurons 0, 7, 14 … (686 of 4,800), in channel, row, column order." in page.text
    sent = int(spikes.reshape(4, -1)[:, ::7].sum())
    assert f"{sent:,} messages" in page.named("Spike raster")[0].find(f"{SVG}desc").text.replace("\u00a0", " ")


def test_the_page_tells_the_timing_of_the_run(tmp_path):
    run, chip = handmade()
    assert "aligned: all layers" in Page(write_figures(run, chip, tmp_path, ["c"])[0].read_text()).text
    paths = write_figures(run, chip, tmp_path, ["c"], mode="pipeline")
    assert "hands on its sum one step later" in Page(paths[0].read_text()).text


def test_one_step_one_neuron_one_clip(tmp_path):
    run, chip = handmade((1,), 1, steps=1, spikes=np.ones((1, 1, 1), np.uint8), membrane=np.full((1, 1, 1), 6500))
    page = Page(write_figures(run, chip, tmp_path, ["c"], None, np.ones((1, 1, 3)))[0].read_text())
    assert "The answer no longer changes from step 1 on." in page.text
