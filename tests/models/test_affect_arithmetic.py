"""The networks of valence and arousal against independent arithmetic: numpy, two dimensions, torchvision."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neuroemo.models.affect.network import build_affect
from neuroemo.models.affect.resnet import ResNet18
from neuroemo.models.affect.table import spec_by_name

torch.set_num_threads(1)


def built(name: str, **changes):
    torch.manual_seed(0)
    return build_affect(spec_by_name(name, **changes))


def pictures(network, samples, frames=None):
    spec = network.spec
    codes = torch.randint(0, 256, (samples, frames or spec.frames, 1, spec.size, spec.size))
    return codes.float() / 256


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def norm(x, weight, bias):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * weight + bias


def gelu(x):
    from scipy.special import erf

    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def test_vision_transformer_in_numpy():
    """Dosovitskiy et al. 2020, equations 1 to 4, written out in float64."""
    pytest.importorskip("scipy")
    network = built("vit@32").eval()
    torch.nn.init.normal_(network.token)
    w = {key: value.double().numpy() for key, value in network.state_dict().items()}
    x = pictures(network, samples=1)
    picture, heads, width = x[0, 0, 0].double().numpy(), 4, 64
    cut = picture.reshape(4, 8, 4, 8).transpose(0, 2, 1, 3).reshape(16, 64)
    z = cut @ w["patches.weight"].reshape(width, 64).T + w["patches.bias"]
    z = np.concatenate((w["token"][0], z)) + w["positions"][0]
    for layer in (f"layers.layers.{k}." for k in range(4)):
        h = norm(z, w[layer + "norm1.weight"], w[layer + "norm1.bias"])
        q, k, v = np.split(h @ w[layer + "self_attn.in_proj_weight"].T + w[layer + "self_attn.in_proj_bias"], 3, 1)
        split = [part.reshape(17, heads, width // heads).transpose(1, 0, 2) for part in (q, k, v)]
        mixed = softmax(split[0] @ split[1].transpose(0, 2, 1) / np.sqrt(width // heads)) @ split[2]
        mixed = mixed.transpose(1, 0, 2).reshape(17, width)
        z = z + mixed @ w[layer + "self_attn.out_proj.weight"].T + w[layer + "self_attn.out_proj.bias"]
        h = norm(z, w[layer + "norm2.weight"], w[layer + "norm2.bias"])
        h = gelu(h @ w[layer + "linear1.weight"].T + w[layer + "linear1.bias"])
        z = z + h @ w[layer + "linear2.weight"].T + w[layer + "linear2.bias"]
    z = norm(z[0], w["layers.norm.weight"], w["layers.norm.bias"])
    y = np.tanh(w["regressor.0.weight"] @ z + w["regressor.0.bias"])
    with torch.no_grad():
        assert np.allclose(network(x)[0, 0].numpy(), y, rtol=0, atol=2e-6)


def test_fusion_heads_in_numpy():
    network = built("resnet-fusion@32").eval()
    w = {key: value.double().numpy() for key, value in network.state_dict().items()}
    features = torch.randn(1, 6, 64)
    f = features[0].double().numpy()

    def mlp(x, name):
        h = np.maximum(w[f"{name}.0.weight"] @ x + w[f"{name}.0.bias"], 0)
        return w[f"{name}.2.weight"] @ h + w[f"{name}.2.bias"]

    video = np.maximum(mlp(f.reshape(-1), "video_head"), 0)
    both = [np.concatenate((video, np.maximum(mlp(frame, "frame_head"), 0))) for frame in f]
    y = np.tanh([mlp(x, "regressor") for x in both])
    with torch.no_grad():
        assert np.allclose(network.head(features)[0].numpy(), y, rtol=0, atol=1e-6)


def test_inception_without_stride_in_time_is_inception():
    """A clip that stands still, away from its ends, sees the sum of every filter over time: a 2D convolution."""
    network = built("ic3d@32", frames=31).eval()
    frame = pictures(network, samples=1, frames=31)[:, :1]
    with torch.no_grad():
        y = network(frame.expand(-1, 31, -1, -1, -1))
        assert torch.allclose(y[:, 15], y[:, 14], rtol=0, atol=1e-6)
        x = frame[:, 0]
        for layer in network.layers:
            x = flat(layer, x)
        assert torch.allclose(network.regressor(x.mean((2, 3))), y[:, 15], rtol=0, atol=1e-5)


def flat(module, x):
    """The 2D counterpart of a layer for a clip that does not change."""
    functional = torch.nn.functional
    if isinstance(module, torch.nn.MaxPool3d):
        last = lambda value: value if isinstance(value, int) else value[-1]  # noqa: E731
        return functional.max_pool2d(x, last(module.kernel_size), last(module.stride), last(module.padding), 1,
                                     module.ceil_mode)  # fmt: skip
    if isinstance(module, torch.nn.Conv3d):
        return functional.conv2d(x, module.weight.sum(2), None, module.stride[-1], module.padding[-1])
    if isinstance(module, torch.nn.BatchNorm3d):
        return functional.batch_norm(x, module.running_mean, module.running_var, module.weight, module.bias)
    if isinstance(module, torch.nn.ReLU):
        return functional.relu(x)
    if hasattr(module, "branches"):
        return torch.cat([flat(branch, x) for branch in module.branches], 1)
    for part in module:
        x = flat(part, x)
    return x


def test_resnet_is_torchvisions():
    """Same names, same shapes, and with the same weights the same bits, in both modes."""
    models = pytest.importorskip("torchvision").models
    torch.manual_seed(0)
    theirs, ours = models.resnet18(), ResNet18(classes=1000)
    state = theirs.state_dict()
    assert [(key, value.shape) for key, value in ours.state_dict().items()] == [(k, v.shape) for k, v in state.items()]
    ours.load_state_dict(state)
    x = torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        for mode in (True, False):
            theirs.train(mode)
            ours.train(mode)
            assert torch.equal(theirs(x), ours(x))
    assert all(torch.equal(value, theirs.state_dict()[key]) for key, value in ours.state_dict().items())
