"""Specs of the valence and arousal networks: names, presets, storage, every refusal."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace

import pytest

from hw_targets.finding import InputError
from neuroemo.models.affect.spec import OUTPUTS, REQUIRED, RESNET_KINDS, AffectSpec
from neuroemo.models.affect.table import PAPER, SPECS, spec_by_name

NAMES = ("resnet18", "vit", "ic3d", "resnet-lstm", "resnet-transformer", "resnet-fusion")
SIZES = range(32, 209, 16)


def test_what_the_paper_prints():
    """Section 4.1 of Berlincioni et al.: sizes, patches, heads, depth, chunks, LSTM, frozen or trained."""
    assert tuple(spec.name for spec in PAPER) == NAMES
    assert all(spec.size == 224 for spec in PAPER)
    assert {spec.name: spec.frames for spec in PAPER} == dict.fromkeys(NAMES[:2], 1) | dict.fromkeys(NAMES[2:], 6)
    vit, lstm, transformer = (spec_by_name(name) for name in ("vit", "resnet-lstm", "resnet-transformer"))
    assert (vit.patch, vit.depth, vit.heads) == (8, 4, 4)
    assert (lstm.layers, lstm.hidden) == (3, 256)
    assert (transformer.layers, transformer.heads) == (6, 4)
    assert spec_by_name("resnet-fusion").head_features == 128
    assert [spec.name for spec in PAPER if spec.frozen] == ["resnet-lstm", "resnet-transformer"]
    assert OUTPUTS == ("valence", "arousal")


@pytest.mark.parametrize("name", NAMES)
def test_small_presets_keep_the_kind(name):
    for size in SIZES:
        small = spec_by_name(f"{name}@{size}")
        full = SPECS[name]
        assert (small.name, small.size) == (f"{name}@{size}", size)
        same = ("kind", "frames", "input", "n_bits", "frozen", "patch", "depth", "heads")
        assert [getattr(small, field) for field in same] == [getattr(full, field) for field in same]


def test_spiking_names_come_through_the_same_door():
    for name in ("spiking-plif", "spiking-resnet"):
        assert spec_by_name(name).input == "bits"
        assert spec_by_name(f"{name}@64").size == 64


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("resnet50", "no network of that name; limit one of resnet18, vit"),
        ("", "no network of that name"),
        ("vit@224", "frames of '224' pixels; limit a multiple of 16 from 32 to 208"),
        ("vit@16", "frames of '16' pixels"),
        ("vit@40", "frames of '40' pixels"),
        ("vit@", "frames of '' pixels"),
        ("vit@064", "frames of '064' pixels"),
        ("vit@64@64", "frames of '64@64' pixels"),
        ("vit@-64", "frames of '-64' pixels"),
        ("spiking-plif@40", "frames of '40' pixels"),
    ],
)
def test_names_that_are_none(name, text):
    with pytest.raises(InputError) as caught:
        spec_by_name(name)
    assert [finding.code for finding in caught.value.findings] == ["E966"]
    assert text in str(caught.value)


def test_changes():
    assert spec_by_name("vit", n_bits=16) == replace(SPECS["vit"], n_bits=16)
    with pytest.raises(InputError, match="E965 vit: no field 'colour'"):
        spec_by_name("vit", colour=3)
    with pytest.raises(InputError, match="E965 vit: n_bits 17; limit a whole number from 1 to 16"):
        spec_by_name("vit", n_bits=17)


@pytest.mark.parametrize("spec", [*SPECS.values(), *(spec_by_name(f"{name}@64") for name in SPECS)], ids=str)
def test_stored_and_rebuilt(spec):
    stored = json.loads(json.dumps(spec.to_dict()))
    assert AffectSpec.from_dict(stored) == spec
    assert None not in stored.values()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"name": 3}, "name 3"),
        ({"name": ""}, "name ''"),
        ({"name": "x" * 81}, "1 to 80 characters"),
        ({"kind": "resnet34"}, "kind 'resnet34'"),
        ({"kind": ["vit"]}, "kind ['vit']"),
        ({"size": 15}, "size 15; limit a whole number from 16 to 1024"),
        ({"size": True}, "size True"),
        ({"size": 64.0}, "size 64.0"),
        ({"size": 10**400}, "size 1000"),
        ({"frames": 0}, "frames 0"),
        ({"frames": 6}, "frames 6; limit 1: vit sees one frame at a time"),
        ({"n_bits": "8"}, "n_bits '8'"),
        ({"input": "bits"}, "input 'bits'; limit 'frames', which a network of kind vit reads"),
        ({"input": ["frames"]}, "input ['frames']"),
        ({"frozen": 1}, "frozen 1"),
        ({"frozen": True}, "frozen; limit no: vit has no backbone"),
        ({"patch": None}, "no patch; limit vit needs it"),
        ({"width": 64}, "width 64; limit none: vit does not use it"),
        ({"tau": 2.0}, "tau 2.0; limit none"),
        ({"channels": [3]}, "channels (3,); limit none"),
        ({"channels": 3}, "channels 3"),
        ({"embedding": 0}, "embedding 0; limit a whole number from 4 to 2048"),
        ({"depth": 49}, "depth 49"),
        ({"heads": 3}, "embedding 256 with heads 3; limit a multiple of heads"),
        ({"patch": 9}, "size 224 with patch 9; limit a multiple of patch"),
        ({"color": 1}, "unknown field 'color'"),
        ({1: 1}, "unknown field 1"),
    ],
)
def test_damaged_descriptions(change, text):
    with pytest.raises(InputError) as caught:
        AffectSpec.from_dict(SPECS["vit"].to_dict() | change)
    assert {finding.code for finding in caught.value.findings} == {"E965"}
    assert text in str(caught.value)


@pytest.mark.parametrize("data", [None, [], "vit", 3, {}, {"name": "vit"}, {"kind": "vit"}])
def test_no_description_at_all(data):
    with pytest.raises(InputError, match="E965"):
        AffectSpec.from_dict(data)


@pytest.mark.parametrize(
    ("name", "change", "text"),
    [
        ("resnet18", {"input_channels": 2}, "input_channels 2; limit 1, or 3 that repeat the picture"),
        ("resnet18", {"width": 12}, "width 12; limit a multiple of 8"),
        ("resnet18", {"width": True}, "width True; limit a whole number from 8 to 256"),
        ("ic3d", {"width": 7}, "width 7"),
        ("spiking-plif", {"tau": 1.0}, "tau 1.0; limit a number of steps above 1"),
        ("spiking-plif", {"tau": float("nan")}, "tau nan"),
        ("spiking-plif", {"threshold": 0}, "threshold 0; limit a number above 0"),
        ("spiking-plif", {"channels": ()}, "channels (); limit 1 to 16 whole numbers"),
        ("spiking-plif", {"channels": (8, 0)}, "channels (8, 0)"),
        ("spiking-plif", {"input": "frames"}, "input 'frames'; limit 'bits'"),
    ],
)
def test_fields_out_of_range(name, change, text):
    with pytest.raises(InputError) as caught:
        replace(SPECS[name], **change)
    assert [finding.code for finding in caught.value.findings] == ["E965"]
    assert text in str(caught.value)


def test_the_limits_just_pass():
    assert replace(SPECS["vit"], size=1024, n_bits=16, depth=48, heads=64).depth == 48
    assert replace(SPECS["resnet18"], width=8, size=16, input_channels=1).width == 8
    assert replace(SPECS["resnet18"], frozen=True).frozen


def test_everything_wrong_is_said_at_once():
    wrong = SPECS["resnet-lstm"].to_dict() | {"size": 0, "width": 9, "patch": 8, "layers": None}
    with pytest.raises(InputError) as caught:
        AffectSpec.from_dict(wrong)
    assert len(caught.value.findings) == 4


def test_every_field_belongs_to_some_kind():
    common = {"name", "kind", "size", "frames", "input", "n_bits", "frozen"}
    used = set().union(*REQUIRED.values()) | {"window"}
    assert {field.name for field in fields(AffectSpec)} == common | used
    assert set(asdict(SPECS["vit"])) == common | used


def test_full_resnet():
    assert [spec.name for spec in SPECS.values() if spec.has_full_resnet] == [
        name for name in NAMES if SPECS[name].kind in RESNET_KINDS
    ]
    assert not spec_by_name("resnet18@64").has_full_resnet
