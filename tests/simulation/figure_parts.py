"""Simulated runs of known spikes and potentials, and how their figures are read."""

import re
from html.parser import HTMLParser
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np

from hw_targets.loihi2.chip import ChipGraph, ChipLayer

SVG = "{http://www.w3.org/2000/svg}"


STEPS, SAMPLES = 24, 3


def trained_like(steps=STEPS, dt_us=33333.0):
    rng = np.random.default_rng(3)
    conv = ChipLayer(
        "conv1", "conv", rng.integers(-10, 30, (4, 2, 3, 3)), rng.integers(-2, 3, 4), 40, 800,
        (2, 8, 8), (4, 8, 8), padding=(1, 1), payload=63,
    )  # fmt: skip
    last = ChipLayer("fc1", "dense", rng.integers(-20, 26, (30, 256)), np.zeros(30, int), 300, 800, (4, 8, 8), (30,))
    return ChipGraph((conv, last), (2, 8, 8), steps, dt_us, "float", voting=10)


def handmade(shape=(4,), voting=2, *, threshold=100, neuron="lif", steps=6, spikes=None, membrane=None, name="out"):
    size = int(np.prod(shape))
    layer = ChipLayer(
        name, "dense", np.ones((size, 3), int), np.zeros(size, int), threshold, 0, (3,), shape, neuron=neuron
    )
    chip = ChipGraph((layer,), (3,), steps, None, "spikes", voting)
    spikes = np.zeros((steps, 1, *shape), np.uint8) if spikes is None else spikes
    return SimpleNamespace(spikes={name: spikes}, membrane={} if membrane is None else {name: membrane}), chip


class Page(HTMLParser):
    """Tags, words and drawings of a page; fails on tags that do not close in order."""

    def __init__(self, html):
        super().__init__()
        self.html, self.tags, self.words, self.open = html, [], [], []
        self.feed(html)
        assert self.open == []
        self.drawings = [ElementTree.fromstring(each) for each in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).replace("\u00a0", " ").split())

    def named(self, start):
        return [each for each in self.drawings if each.get("aria-label").startswith(start)]


def paths_of(root, css):
    return [each.get("d") for each in root.iter(f"{SVG}path") if css in each.get("class", "").split()]
