"""The six valence and arousal networks: parameters by hand, independent arithmetic, context, frozen parts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hw_targets.finding import InputError
from neuroemo.models.affect.base import BackboneNetwork
from neuroemo.models.affect.network import PARAMETERS_MAX, build_affect, initialisation_finding, parameter_counts
from neuroemo.models.affect.spec import AffectSpec
from neuroemo.models.affect.table import spec_by_name

torch.set_num_threads(1)
NAMES = ("resnet18", "vit", "ic3d", "resnet-lstm", "resnet-transformer", "resnet-fusion")
VIDEO = NAMES[2:]


def built(name: str, seed: int = 0, **changes):
    torch.manual_seed(seed)
    return build_affect(spec_by_name(name, **changes))


def pictures(network, samples=2, frames=None, seed=0):
    spec = network.spec
    torch.manual_seed(seed)
    codes = torch.randint(0, 256, (samples, frames or spec.frames, 1, spec.size, spec.size))
    return codes.float() / 256


def linear(inputs, outputs):
    return inputs * outputs + outputs


def resnet_weights(width, inputs):
    """He et al., table 1: stem, four stages of 4 convolutions, batch norm with 2 numbers per map, 1x1 skips."""
    count, before = 49 * inputs * width + 2 * width, width
    for stage in range(4):
        maps = width << stage
        count += 9 * (before * maps + 3 * maps * maps) + 4 * 2 * maps
        count += (before * maps + 2 * maps) if stage else 0
        before = maps
    return count


def attention(width):
    return 4 * linear(width, width)


def encoder(width, feedforward):
    return attention(width) + linear(width, feedforward) + linear(feedforward, width) + 4 * width


def decoder(width, feedforward):
    return 2 * attention(width) + linear(width, feedforward) + linear(feedforward, width) + 6 * width


def lstm(inputs, hidden, layers):
    one = lambda fed: 4 * hidden * (fed + hidden + 2)  # noqa: E731 (gates, two biases each)
    return one(inputs) + (layers - 1) * one(hidden)


def expected(name, width, channels):
    """Trained and frozen parameters of the paper's size (width 64) or of a small preset (width 8)."""
    full = width == 64
    trunk, features = resnet_weights(width, channels), 8 * width
    if name == "resnet18":
        return trunk + linear(features, 2), 0
    if name == "vit":
        embedding, tokens = (256, 785) if full else (64, 65)
        blocks = 4 * encoder(embedding, 4 * embedding)
        return linear(64, embedding) + (1 + tokens) * embedding + blocks + 2 * embedding + linear(embedding, 2), 0
    mlp = 128 if full else 32
    if name == "resnet-lstm":
        hidden = 256 if full else 64
        return lstm(features, hidden, 3) + linear(hidden, mlp) + linear(mlp, 2), trunk
    if name == "resnet-transformer":
        embedding, layers, feedforward = (512, 6, 2048) if full else (64, 2, 128)
        body = layers * (encoder(embedding, feedforward) + decoder(embedding, feedforward)) + 4 * embedding
        return body + 2 * 6 * embedding + linear(embedding, mlp) + linear(mlp, 2), trunk
    video, frame, out = (512, 256, 128) if full else (64, 32, 32)
    heads = linear(6 * features, video) + linear(video, out) + linear(features, frame) + linear(frame, out)
    return trunk + heads + linear(2 * out, mlp) + linear(mlp, 2), 0


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ic3d"])
def test_parameters_by_hand(name):
    for preset, width, channels in ((name, 64, 3), (f"{name}@64", 8, 1)):
        trained, frozen = expected(name, width, channels)
        assert parameter_counts(spec_by_name(preset)) == {"trained": trained, "frozen": frozen}


@pytest.mark.parametrize(
    ("name", "trained", "frozen"),
    [
        ("resnet18", 11.178, 0),
        ("vit", 3.378, 0),
        ("ic3d", 12.245, 0),
        ("resnet-lstm", 1.874, 11.177),
        ("resnet-fusion", 13.013, 0),
    ],
)
def test_parameters_as_measured_elsewhere(name, trained, frozen):
    """Millions, from torchvision's ResNet18 and prototypes of the other networks that share no code with these."""
    counts = parameter_counts(spec_by_name(name))
    assert (round(counts["trained"] / 1e6, 3), round(counts["frozen"] / 1e6, 3)) == (trained, frozen)


def test_the_transformer_is_the_prototype_with_queries_and_positions():
    """The prototype's 44.206 million have neither; both are 6 x 512 here."""
    trained = parameter_counts(spec_by_name("resnet-transformer"))["trained"]
    assert round((trained - 2 * 6 * 512) / 1e6, 3) == 44.206


@pytest.mark.parametrize(("name", "part"), [("ic3d", 1), ("ic3d@64", 8)])
def test_inception_parameters_by_hand(name, part):
    """Carreira and Zisserman, figure 3, in one channel; every width divided; batch norms have 2 numbers per map."""
    blocks = [
        (192, 64, 96, 128, 16, 32, 32), (256, 128, 128, 192, 32, 96, 64), (480, 192, 96, 208, 16, 48, 64),
        (512, 160, 112, 224, 24, 64, 64), (512, 128, 128, 256, 24, 64, 64), (512, 112, 144, 288, 32, 64, 64),
        (528, 256, 160, 320, 32, 128, 128), (832, 256, 160, 320, 32, 128, 128), (832, 384, 192, 384, 48, 128, 128),
    ]  # fmt: skip
    first, third = 64 // part, 192 // part
    count = (343 * first + 2 * first) + (first * first + 2 * first) + (27 * first * third + 2 * third)
    for block in blocks:
        fed, plain, narrow, wide, thin, broad, pooled = (width // part for width in block)
        count += fed * (plain + narrow + thin + pooled) + 27 * (narrow * wide + thin * broad)
        count += 2 * (plain + narrow + wide + thin + broad + pooled)
    assert parameter_counts(spec_by_name(name)) == {"trained": count + linear(1024 // part, 2), "frozen": 0}


@pytest.mark.parametrize("name", NAMES)
def test_docstrings_say_the_count(name):
    network = built(f"{name}@32")
    counts = parameter_counts(spec_by_name(name))
    for count in filter(None, counts.values()):
        assert f"{count:,}" in type(network).__doc__


@pytest.mark.parametrize("name", NAMES)
def test_small_presets_are_of_one_size(name):
    counts = parameter_counts(spec_by_name(f"{name}@64"))
    assert 100_000 <= sum(counts.values()) <= 350_000


@pytest.mark.parametrize("size", [32, 48, 64])
@pytest.mark.parametrize("name", NAMES)
def test_shapes_range_and_repetition(name, size):
    network = built(f"{name}@{size}").eval()
    x = pictures(network, samples=3)
    with torch.no_grad():
        y = network(x)
        assert y.shape == (3, network.spec.frames, 2)
        assert y.dtype == torch.float32
        assert y.abs().max() < 1
        assert torch.equal(y, network(x))
        assert torch.equal(y, built(f"{name}@{size}").eval()(x))
        assert not torch.equal(y, built(f"{name}@{size}", seed=1).eval()(x))
        blank = network(torch.zeros_like(x))
    assert torch.isfinite(blank).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_shapes_at_the_papers_size(name):
    network = built(name).eval()
    with torch.no_grad():
        assert network(pictures(network, samples=1)).shape == (1, network.spec.frames, 2)


@pytest.mark.parametrize("name", ["resnet18", "vit"])
def test_frame_networks_see_one_frame(name):
    network = built(f"{name}@32").eval()
    x = pictures(network, frames=4)
    with torch.no_grad():
        before, one = network(x), network(x[:, 2:3])
        x[:, 2] = x[:, 2].flip(-1)
        after = network(x)
    others = [0, 1, 3]
    assert torch.allclose(before[:, others], after[:, others], rtol=0, atol=1e-7)
    assert (before[:, 2] != after[:, 2]).any()
    assert torch.allclose(before[:, 2:3], one, rtol=0, atol=1e-6)


def trained_a_little(network):
    """A few steps, so that no output is where it started: an untrained last layer hardly answers to anything."""
    network.train()
    optimiser = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=3e-3)
    for step in range(6):
        x = pictures(network, samples=4, seed=step)
        target = torch.tanh(4 * x.mean((2, 3, 4)) - 2).cumsum(1)[..., None] / 6 * torch.tensor([1.0, -1.0])
        optimiser.zero_grad()
        (network(x) - target).square().mean().backward()
        optimiser.step()
    return network.eval()


@pytest.mark.parametrize("name", VIDEO)
def test_video_networks_see_the_chunk(name):
    network = trained_a_little(built(f"{name}@32"))
    x = pictures(network)
    changed = x.clone()
    changed[:, 3] = torch.roll(changed[:, 3], 9, -1) * 0.5
    with torch.no_grad():
        moved = (network(x) - network(changed)).abs().amax((0, 2))
    assert (moved[3:] > 1e-7).all()
    if name == "resnet-lstm":
        assert (moved[:3] == 0).all()
    else:
        assert (moved[:3] > 1e-7).all()


@pytest.mark.parametrize("name", VIDEO)
def test_video_networks_see_the_order(name):
    network = trained_a_little(built(f"{name}@32"))
    x = pictures(network)
    with torch.no_grad():
        assert (network(x).flip(1) - network(x.flip(1))).abs().max() > 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_samples_do_not_meet(name):
    network = built(f"{name}@32").eval()
    x = pictures(network, samples=3)
    with torch.no_grad():
        assert torch.allclose(network(x)[1:2], network(x[1:2]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_every_trained_parameter_learns_and_no_frozen_one(name):
    network = built(f"{name}@32").train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimiser = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-3)
    network(pictures(network, samples=6)).square().mean().backward()
    for key, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert parameter.grad.abs().max() > 0, key
        else:
            assert key.startswith("backbone."), key
            assert parameter.grad is None, key
    optimiser.step()
    frozen = [key for key in before if key.startswith("backbone.")] if network.spec.frozen else []
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]) == (key in frozen), key


@pytest.mark.parametrize("name", ["resnet-lstm", "resnet-transformer"])
def test_a_frozen_backbone_stays_in_eval_mode(name):
    network = built(f"{name}@32")
    for mode in (True, False, True):
        network.train(mode)
        assert network.training is mode
        assert not any(module.training for module in network.backbone.modules())
    thawed = built(f"{name}@32", frozen=False).train()
    assert all(module.training for module in thawed.modules())
    assert all(p.requires_grad for p in thawed.parameters())


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("resnet")])
def test_features_and_head_are_the_network(name):
    network = built(f"{name}@48").eval()
    x = pictures(network)
    with torch.no_grad():
        features = network.features(x)
        assert features.shape == (2, network.spec.frames, 64)
        assert torch.equal(network.head(features), network(x))
        alone = torch.cat(
            [network.features(frame[None, None].expand(1, x.shape[1], -1, -1, -1))[:, 0] for frame in x[0]]
        )
    assert torch.allclose(features[0], alone, rtol=1e-5, atol=1e-7)


def test_a_frozen_backbones_features_are_standardised():
    """With the statistics of a batch: mean 0 and variance 1 of every feature, whatever scale they come in."""
    network = built("resnet-lstm@32").train()
    seen = []
    network.lstm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network.head(torch.randn(8, 6, 64) * 50 + 1000)
    values = seen[0].flatten(0, 1)
    assert torch.allclose(values.mean(0), torch.zeros(64), atol=1e-4)
    assert torch.allclose(values.var(0, unbiased=False), torch.ones(64), atol=1e-3)


def test_one_channel_is_repeated_for_weights_of_colours():
    network = built("resnet18@32", input_channels=3).eval()
    x = pictures(network)
    with torch.no_grad():
        assert torch.equal(network.features(x)[:, 0], network.backbone(x[:, 0].repeat(1, 3, 1, 1)))


@pytest.mark.parametrize(
    ("name", "shape", "limit"),
    [
        ("vit@32", (2, 1, 1, 48, 48), "[N, F, 1, 32, 32]"),
        ("vit@32", (2, 0, 1, 32, 32), "[N, F, 1, 32, 32]"),
        ("resnet18@32", (2, 1, 32, 32), "[N, F, 1, 32, 32]"),
        ("resnet18@32", (2, 1, 3, 32, 32), "[N, F, 1, 32, 32]"),
        ("ic3d@32", (2, 5, 1, 32, 32), "[N, 6, 1, 32, 32]"),
        ("resnet-lstm@32", (2, 7, 1, 32, 32), "[N, 6, 1, 32, 32]"),
        ("resnet-fusion@32", (2, 6, 8, 1, 32, 32), "[N, 6, 1, 32, 32]"),
    ],
)
def test_other_shapes_are_refused(name, shape, limit):
    with pytest.raises(InputError) as caught:
        built(name)(torch.zeros(shape))
    finding = caught.value.findings[0]
    assert (finding.code, finding.found, finding.limit) == ("E969", f"input {list(shape)}", limit)


def test_too_large_networks_are_refused_before_they_are_built():
    huge = replace(spec_by_name("resnet-transformer"), embedding=2048, feedforward=8192, layers=24, heads=64)
    with pytest.raises(InputError, match=r"E968 resnet-transformer: 2,\d{3},\d{3},\d{3} parameters; limit 268,435,456"):
        build_affect(huge)
    assert sum(parameter_counts(spec_by_name("resnet-transformer")).values()) < PARAMETERS_MAX


def test_a_chunk_of_another_length():
    spec = AffectSpec.from_dict(spec_by_name("resnet-fusion@32").to_dict() | {"frames": 3})
    assert build_affect(spec).eval()(torch.zeros(1, 3, 1, 32, 32)).shape == (1, 3, 2)


def test_random_weights_are_said():
    for name in NAMES:
        network = built(f"{name}@32")
        assert network.initialisation == "random"
        finding = initialisation_finding(network)
        if not isinstance(network, BackboneNetwork):
            assert finding is None
            continue
        assert (finding.code, finding.severity) == ("W967", "note")
        assert "random weights" in finding.found
        assert ("it is frozen" in finding.found) == network.spec.frozen
        assert "this one has 8" in finding.limit
