"""Density of a store in which a pixel may send ON and OFF within one step."""

from __future__ import annotations

import numpy as np

from neuroemo.datasets.chunks import encode_clip
from neuroemo.datasets.clip_settings import PixelClipSettings
from neuroemo.datasets.store import ClipStore
from neuroemo.datasets.store_file import pack_clip, write_store
from neuroemo.events.clip import Clip


def test_a_pixel_that_sends_both_in_one_step_is_one_place_with_an_event(tmp_path):
    spikes = np.ones((4, 2, 8, 8), np.uint8)
    spikes[:, 1, :, 4:] = 0  # half of the pixels send both, all of them ON
    spikes[3] = 0  # silence behind three real steps
    clip = Clip(spikes, None, 3, 15.0)
    settings = PixelClipSettings(size=8, steps=4, first_frame="spikes")
    column = {"labels": [0], "splits": ["train"], "subjects": [""], "names": ["a.mp4"]}
    made = encode_clip(pack_clip(clip, np.zeros((4, 8, 8), np.uint8)))
    write_store(tmp_path / "a.h5", iter([made]), settings=settings, classes=("one",), **column)
    with ClipStore.open(tmp_path / "a.h5") as store:
        density = store.density()
    assert (density.on, density.off, density.per_channel, density.any_polarity) == (1.0, 0.5, 0.75, 1.0)
