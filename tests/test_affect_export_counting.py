"""The six networks' operations: LSTM and attention, which torch computes in one piece, counted as their products."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neuroemo.models.affect.network import build_affect
from neuroemo.models.affect.table import spec_by_name
from neuroemo.profiling.counting.counter import count_operations


class First(nn.Module):
    """The first of what a module returns."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x)[0]


def dense(model, x):
    counts = count_operations(model, [x], time_first=False)
    return {name: layer.dense_macs for name, layer in counts.layers.items()}, counts


def test_an_lstm_costs_4h_times_inputs_and_state_for_every_step_and_layer():
    torch.manual_seed(0)
    found, counts = dense(First(nn.LSTM(5, 7, num_layers=2, batch_first=True)), torch.randn(3, 4, 5))
    steps = 3 * 4
    assert found == {
        "module.weight_ih_l0": steps * 4 * 7 * 5,
        "module.weight_hh_l0": steps * 4 * 7 * 7,
        "module.weight_ih_l1": steps * 4 * 7 * 7,
        "module.weight_hh_l1": steps * 4 * 7 * 7,
    }
    # The first state is zeros, whose products cost nothing by events.
    assert counts.layers["module.weight_hh_l0"].macs == 3 * 3 * 4 * 7 * 7
    assert "module" in counts.partial, "its gates are no product, and are named as not counted"


def test_an_lstm_computes_the_same_while_it_is_counted():
    torch.manual_seed(0)
    model, x, seen = First(nn.LSTM(5, 7, batch_first=True)).eval(), torch.randn(3, 4, 5), []
    before = torch.backends.mkldnn.flags  # the switch is put back afterwards
    with torch.no_grad():
        plain = model(x)
    model.register_forward_hook(lambda _, __, out: seen.append(out))
    count_operations(model, [x], time_first=False)
    assert torch.allclose(seen[0], plain, rtol=0, atol=1e-6)
    assert torch.backends.mkldnn.flags is before
    assert torch._C._get_mkldnn_enabled()


@pytest.mark.parametrize("need_weights", [False, True])
def test_attention_costs_its_projections_and_twice_length_squared_times_width(need_weights):
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, batch_first=True)

    class Attend(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = attention

        def forward(self, x):
            return self.attention(x, x, x, need_weights=need_weights)[0]

    found, _ = dense(Attend(), torch.randn(3, 4, 8))
    length, width, samples = 4, 8, 3
    assert found["attention.in_proj_weight"] == samples * length * width * 3 * width
    assert found["attention:multi_head_attention_forward"] == samples * 2 * length**2 * width
    assert found["attention.out_proj"] == samples * length * width * width
    assert len(found) == 3


def test_an_encoder_layer_is_not_taken_down_torchs_fast_path():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True, activation="gelu")
    found, counts = dense(layer, torch.randn(3, 4, 8))
    products = 4 * 8 * 24 + 2 * 4**2 * 8 + 4 * 8 * 8 + 2 * 4 * 8 * 16
    assert sum(found.values()) == 3 * products
    assert set(counts.partial) == {"norm1", "norm2"}


def test_the_lstm_network_is_counted_with_its_lstm():
    spec = spec_by_name("resnet-lstm@32")
    network = build_affect(spec)
    _, counts = dense(network, torch.rand(2, spec.frames, 1, 32, 32))
    lstm = next(module for module in network.modules() if isinstance(module, nn.LSTM))
    found = sum(layer.dense_macs for name, layer in counts.layers.items() if ".weight_" in name)
    inputs = [lstm.input_size] + [lstm.hidden_size] * (lstm.num_layers - 1)
    wanted = 2 * spec.frames * sum(4 * lstm.hidden_size * (width + lstm.hidden_size) for width in inputs)
    assert found == wanted
