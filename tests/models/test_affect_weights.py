"""Weights of a ResNet18 from a file or torch's cache: what fits is loaded to the bit, nothing in a file is executed."""

from __future__ import annotations

import collections
import hashlib
import io
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hw_targets.finding import InputError
from neuroemo.models.affect import imagenet, torch_archive
from neuroemo.models.affect.imagenet import load_backbone
from neuroemo.models.affect.network import build_affect, initialisation_finding
from neuroemo.models.affect.resnet import ResNet18
from neuroemo.models.affect.table import spec_by_name
from tests.mutants import damaged

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def no_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def narrow(seed=0):
    """A ResNet18 of width 8 that no initialisation makes: statistics and counters other than their start."""
    torch.manual_seed(seed)
    network = ResNet18(8, 3, classes=1000)
    with torch.no_grad():
        for _ in range(2):
            network(torch.rand(4, 3, 64, 64))
    return network


def state_of(network):
    return collections.OrderedDict(network.state_dict())


def empty():
    return ResNet18(8, 3)


def refused(path, backbone=None):
    backbone = backbone or empty()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    with pytest.raises(InputError) as caught:
        load_backbone(backbone, path)
    assert {finding.code for finding in caught.value.findings} == {"E967"}
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    return str(caught.value)


def parameters_only(state):
    """As torchvision's file has it: parameters are Parameters, and nobody counted batches."""
    counted = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    return {key: value if "running" in key else torch.nn.Parameter(value) for key, value in counted.items()}


@pytest.mark.parametrize("kind", ["archive", "parameters", "safetensors"])
def test_weights_arrive_to_the_bit(tmp_path, kind):
    theirs, path = narrow(), tmp_path / ("a.safetensors" if kind == "safetensors" else "a.pth")
    state = state_of(theirs)
    if kind == "safetensors":
        save_file(dict(state), path)
    else:
        torch.save(parameters_only(state) if kind == "parameters" else state, path)
    ours = empty()
    assert load_backbone(ours, path) == f"file:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    for key, value in ours.state_dict().items():
        if kind == "parameters" and key.endswith("num_batches_tracked"):
            assert value == 0
        else:
            assert torch.equal(value, state[key]), key
    x = torch.rand(2, 3, 64, 64)
    theirs.fc = None
    with torch.no_grad():
        assert torch.equal(theirs.eval()(x), ours.eval()(x))


def test_full_network_from_a_file_and_from_the_cache(tmp_path, monkeypatch):
    torch.manual_seed(1)
    state = state_of(ResNet18(classes=1000))
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    network = build_affect(spec_by_name("resnet18", size=32), backbone_weights=path)
    assert network.initialisation == f"file:{digest}"
    assert torch.equal(network.backbone.conv1.weight, state["conv1.weight"])
    finding = initialisation_finding(network)
    assert (finding.code, finding.severity) == ("W967", "note")
    assert digest in finding.found

    name = f"resnet18-{digest[:8]}.pth"
    monkeypatch.setattr(imagenet, "FILE", name)
    cached = imagenet.cached_weights()
    assert cached == tmp_path / "torch" / "hub" / "checkpoints" / name
    cached.parent.mkdir(parents=True)
    path.rename(cached)
    lstm = spec_by_name("resnet-lstm", size=32)
    network = build_affect(lstm)
    assert network.initialisation == f"imagenet:{digest}"
    assert torch.equal(network.backbone.conv1.weight, state["conv1.weight"])
    assert not any(p.requires_grad for p in network.backbone.parameters())
    assert "ImageNet weights" in initialisation_finding(network).found
    assert build_affect(lstm, pretrained=False).initialisation == "random"


def test_without_weights_it_is_said(tmp_path):
    for name, frozen in (("resnet18", False), ("resnet-lstm", True)):
        network = build_affect(spec_by_name(name, size=32))
        assert network.initialisation == "random"
        finding = initialisation_finding(network)
        assert (finding.code, finding.severity) == ("W967", "warning")
        assert "no ImageNet weights at hand" in finding.found
        assert ("it is frozen" in finding.found) == frozen
        assert str(tmp_path / "torch" / "hub" / "checkpoints" / "resnet18-f37072fd.pth") in finding.fix


def test_a_cut_download_in_the_cache_is_named(tmp_path):
    cached = imagenet.cached_weights()
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(InputError, match="f37072fd"):
        build_affect(spec_by_name("resnet18", size=32))


@pytest.mark.parametrize("name", ["vit", "ic3d", "resnet18@64", "spiking-plif@32"])
def test_weights_without_a_place_are_refused(tmp_path, name):
    with pytest.raises(InputError, match=f"E967 {name}: weights of a ResNet18 in .*limit none"):
        build_affect(spec_by_name(name), backbone_weights=tmp_path / "any.pth")


def test_no_file_and_a_name_that_does_not_fit(tmp_path):
    assert "no such file" in refused(tmp_path / "none.pth")
    assert "no such file" in refused(tmp_path)
    path = tmp_path / "resnet18-00000000.pth"
    torch.save(state_of(narrow()), path)
    assert "limit 00000000..., as its name says" in refused(path)
    fitting = tmp_path / f"resnet18-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth"
    path.rename(fitting)
    assert load_backbone(empty(), fitting).startswith("file:")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda s: s.pop("layer1.0.conv1.weight"), "1 tensors are missing: 'layer1.0.conv1.weight'"),
        (lambda s: s.update(extra=torch.zeros(1)), "1 tensors are unknown: 'extra'"),
        (lambda s: s.update({"conv1.weight": torch.zeros(8, 3, 7, 5)}), "conv1.weight: shape [8, 3, 7, 5]"),
        (lambda s: s["bn1.weight"].mul_(float("nan")), "bn1.weight: 8 of 8 values are not finite"),
        (lambda s: s["bn1.running_var"].neg_(), "bn1.running_var: a variance of -"),
        (lambda s: s.update({"bn1.bias": torch.zeros(8, dtype=torch.long)}), "bn1.bias: values of type int64"),
    ],
)
def test_other_tensors(tmp_path, suffix, change, text):
    state = state_of(narrow())
    change(state)
    path = tmp_path / f"a.{suffix}"
    if suffix == "pth":
        torch.save(state, path)
    else:
        save_file(dict(state), path)
    assert text in refused(path)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda s: s.update({"bn1.bias": torch.zeros(8).half()}), "values of type torch HalfStorage"),
        (lambda s: s.update({"bn1.bias": torch.zeros(16)[::2]}), "do not lie one after another"),
        (lambda s: s.update({"bn1.bias": 3}), "something else than a dictionary of tensors"),
        (lambda s: s.update({"bn1.bias": [torch.zeros(8)]}), "operation EMPTY_LIST"),
        (lambda s: s.update({3: torch.zeros(8)}), "keys that are no names"),
    ],
)
def test_archives_of_something_else(tmp_path, change, text):
    state = state_of(narrow())
    change(state)
    torch.save(state, tmp_path / "a.pth")
    message = refused(tmp_path / "a.pth")
    assert text in message
    assert "convert it once" in message


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_file_is_executed(tmp_path):
    made = tmp_path / "made"
    state = state_of(narrow())
    state["conv1.weight"] = Evil(made)
    torch.save(state, tmp_path / "a.pth")
    assert "a call of posix mkdir, which was not made" in refused(tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps(Evil(made)))
    assert "a bare pickle" in refused(tmp_path / "b.pth")
    torch.save(state_of(narrow()), tmp_path / "c.pth", _use_new_zipfile_serialization=False)
    assert "a bare pickle" in refused(tmp_path / "c.pth")
    assert not made.exists()
    pickle.loads((tmp_path / "b.pth").read_bytes())
    assert made.exists()  # the file would have done it


def test_files_that_are_no_weights(tmp_path):
    path = tmp_path / "a.pth"
    for data in (b"", b"PK\x03\x04", b"{}", bytes(100), b"\xff" * 100):
        path.write_bytes(data)
        refused(path)
    with path.open("wb") as file:
        file.truncate(imagenet.BYTES_MAX + 1)
    assert "67,108,865 bytes; limit 67,108,864" in refused(path)


def archive(entries):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data, kind in entries:
            file.writestr(name, data, kind)
    return buffer.getvalue()


def small_archive():
    buffer = io.BytesIO()
    values = {"a": torch.arange(6.0).reshape(2, 3), "b.c": torch.tensor(7), "d": torch.arange(9.0)[3:5]}
    torch.save(values, buffer)
    return buffer.getvalue(), values


def test_reading_is_what_torch_reads():
    data, values = small_archive()
    told = torch_archive.describe(data)
    assert {name: stored.shape for name, stored in told.items()} == {"a": (2, 3), "b.c": (), "d": (2,)}
    for name, array in torch_archive.read(data, told).items():
        assert torch.equal(torch.from_numpy(np.asarray(array)), values[name])


def program(data):
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return file.read("archive/data.pkl")


def test_other_archives():
    data, _ = small_archive()
    plain, stored = program(data), zipfile.ZIP_STORED
    cases = [
        ([("x", b"", stored)], "0 files data.pkl"),
        ([("a/data.pkl", plain, stored), ("b/data.pkl", plain, stored)], "2 files data.pkl"),
        ([("a/data.pkl", plain, zipfile.ZIP_DEFLATED)], "is compressed"),
        ([("a/data.pkl", plain, stored), ("a/byteorder", b"big", stored)], "the other byte order"),
        ([("a/data.pkl", plain + bytes(1 << 20), stored)], "more than 1048576 bytes"),
        ([("a/data.pkl", plain[:-1], stored)], "a damaged description"),
        ([("a/data.pkl", b"\x80\x02(" * 1000 + b".", stored)], "something else"),
        ([("a/data.pkl", b"\x80\x02" + b")\x85" + b"\x85" * 100_000 + b".", stored)], "something else"),
        ([("a/data.pkl", b"\x80\x02}}b.", stored)], "something else than a dictionary|a damaged"),
        ([("a/data.pkl", b"\x80\x02t.", stored)], "a damaged description"),
        ([("a/data.pkl", b"\x80\x02h\x05.", stored)], "a damaged description"),
    ]
    for entries, text in cases:
        if text.startswith("something else than"):
            assert torch_archive.describe(archive(entries)) == {}
            continue
        with pytest.raises(torch_archive.NotTensors, match=text):
            torch_archive.describe(archive(entries))
    bare = archive([("a/data.pkl", plain, stored)])
    with pytest.raises(torch_archive.NotTensors, match="no a/data/0 in the archive"):
        torch_archive.read(bare, torch_archive.describe(bare))
    short = archive([("a/data.pkl", plain, stored), *((f"a/data/{k}", b"1234", stored) for k in range(3))])
    with pytest.raises(torch_archive.NotTensors, match="data/0 has 4 bytes, not 24"):
        torch_archive.read(short, torch_archive.describe(short))


def test_damaged_archives_are_refused_or_read():
    """Mutants of archives and of programs in sound ones: a refusal, or tensors of the shapes that were told."""
    data, _ = small_archive()
    plain, outcomes = program(data), collections.Counter()
    for number in range(1000):
        rng = np.random.default_rng([7, number])
        if number % 2:
            broken = damaged(data, rng)
        else:
            files = [(f"a/data/{k}", bytes(36), zipfile.ZIP_STORED) for k in range(3)]
            broken = archive([("a/data.pkl", damaged(plain, rng), zipfile.ZIP_STORED), *files])
        try:
            told = torch_archive.describe(broken)
            arrays = torch_archive.read(broken, told)
        except torch_archive.NotTensors:
            outcomes["refused"] += 1
            continue
        assert all(arrays[name].shape == stored.shape for name, stored in told.items())
        outcomes["read"] += 1
    assert outcomes["refused"] > 350


def test_damaged_files_leave_the_network_as_it_was(tmp_path):
    sound = tmp_path / "sound.pth"
    torch.save(state_of(narrow()), sound)
    data, path = sound.read_bytes(), tmp_path / "a.pth"
    backbone, refusals = empty(), 0
    for number in range(40):
        path.write_bytes(damaged(data, np.random.default_rng([8, number]), head=30_000))
        before = {key: value.clone() for key, value in backbone.state_dict().items()}
        try:
            load_backbone(backbone, path)
        except InputError:
            refusals += 1
            assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
        assert all(torch.isfinite(value).all() for value in backbone.state_dict().values())
    assert refusals > 20


def test_torchvisions_own_weights_file_layout(tmp_path):
    """A state dict as torchvision's ResNet18 gives it, saved by torch, in a full network: the same features."""
    models = pytest.importorskip("torchvision").models
    torch.manual_seed(2)
    theirs = models.resnet18()
    torch.save(theirs.state_dict(), tmp_path / "a.pth")
    network = build_affect(spec_by_name("resnet18", size=64), backbone_weights=tmp_path / "a.pth").eval()
    theirs.fc = torch.nn.Identity()
    x = torch.rand(2, 1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(network.features(x)[:, 0], theirs.eval()(x[:, 0].repeat(1, 3, 1, 1)))
