"""Reports as the exporter writes them: one verified, with values of a real run, and what else can happen.

The values are those of the tiny network with random weights on 24 random clips, 48x48, 16 steps.
"""

from __future__ import annotations

import copy

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"


def node(name, kind, input_shape, output_shape, parameters=0, detail=""):
    return {
        "name": name,
        "type": kind,
        "input_shape": input_shape,
        "output_shape": output_shape,
        "parameters": parameters,
        "detail": detail,
    }


# fmt: off
_CAPTURED = [
    node("features.0", "Conv2d", [2, 48, 48], [4, 46, 46], 72, "3x3"),
    node("features.1", "BatchNorm", [4, 46, 46], [4, 46, 46], 0, ""),
    node("features.2", "LIF", [4, 46, 46], [4, 46, 46], 0, "decay 0.5, fires at v >= 0.4"),
    node("features.3", "AvgPool2d", [4, 46, 46], [4, 23, 23], 0, "2x2, stride 2x2"),
    node("features.4", "Conv2d", [4, 23, 23], [8, 21, 21], 288, "3x3"),
    node("features.5", "BatchNorm", [8, 21, 21], [8, 21, 21], 0, ""),
    node("features.6", "LIF", [8, 21, 21], [8, 21, 21], 0, "decay 0.5, fires at v >= 0.4"),
    node("features.7", "AvgPool2d", [8, 21, 21], [8, 10, 10], 0, "2x2, stride 2x2"),
    node("features.8", "Flatten", [8, 10, 10], [800], 0, ""),
    node("features.9", "Linear", [800], [16], 12800, "800 to 16"),
    node("features.10", "LIF", [16], [16], 0, "decay 0.5, fires at v >= 0.4"),
    node("voting_neurons.0", "Linear", [16], [20], 320, "16 to 20"),
    node("voting_neurons.1", "LIF", [20], [20], 0, "decay 0.5, fires at v >= 0.4"),
]
_FOLDED = [
    node("features.0", "Conv2d", [2, 48, 48], [4, 46, 46], 76, "3x3"),
    node("features.2", "LIF", [4, 46, 46], [4, 46, 46], 0, "decay 0.5, fires at v >= 0.4"),
    node("features.4", "Conv2d", [4, 46, 46], [8, 21, 21], 1160, "6x6, stride 2x2"),
    node("features.6", "LIF", [8, 21, 21], [8, 21, 21], 0, "decay 0.5, fires at v >= 0.4"),
    node("features.8", "Flatten", [8, 21, 21], [3528], 0, ""),
    node("features.9", "Linear", [3528], [16], 56448, "3528 to 16"),
    node("features.10", "LIF", [16], [16], 0, "decay 0.5, fires at v >= 0.4"),
    node("voting_neurons.0", "Linear", [16], [20], 320, "16 to 20"),
    node("voting_neurons.1", "LIF", [20], [20], 0, "decay 0.5, fires at v >= 0.4"),
]
_LAYERS = [
    {
        "name": "features.2", "where": "chip", "kind": "conv", "input_shape": [2, 48, 48], "output_shape": [4, 46,
        46], "kernel": [3, 3], "stride": [1, 1], "neurons": 8464, "weights": 72, "scale": 255.073, "payload": 63,
        "threshold": 6427, "voltage_decay": 2048, "current_decay": 4096, "bias_max": 4095, "worst_sum": 15624,
        "zero_weights": 0.0138889, "clipped_weights": 0,
        "cores": 2, "placement": {"name": "features.2", "neurons": 8464,
        "weight_bytes": 72, "cores": 2, "neurons_per_core": 4232, "bytes_per_core": 36, "neuron_share": 0.516602,
        "memory_share": 0.000274658, "kernel_copies": 1, "weight_bytes_total": 72, "limited_by": "neurons"},
        "histogram": {"edges": [-0.1498, -0.131, -0.1123, -0.0936, -0.07488, -0.05616, -0.03744, -0.01872, 0.0,
        0.01872, 0.03744, 0.05616, 0.07488, 0.0936, 0.1123, 0.131, 0.1498], "before": [4, 3, 8, 6, 6, 3, 4, 4, 4, 4,
        4, 6, 4, 4, 5, 3], "after": [4, 3, 8, 6, 6, 3, 4, 3, 5, 4, 4, 6, 4, 4, 5, 3]},
        "verify": {"name": "features.2", "spikes": 669679, "compared": 3250176, "captured_mismatches": 0,
        "captured_ties": 0, "folded_mismatches": 0, "folded_ties": 0, "chip_mismatches": 17724, "chip_spikes": 666457,
        "end_to_end_mismatches": 17724, "rate_float": 0.206044, "rate_chip": 0.205053, "agreement": 0.994547,
        "f1": 0.990547, "rate_error": 0.001818,
        "agreement_end_to_end": 0.994547},
    },
    {
        "name": "features.6", "where": "chip", "kind": "conv", "input_shape": [4, 46, 46], "output_shape": [8, 21,
        21], "kernel": [6, 6], "stride": [2, 2], "neurons": 3528, "weights": 1152, "scale": 4714.96, "payload": 1,
        "threshold": 1885, "voltage_decay": 2048, "current_decay": 4096, "bias_max": 1555, "worst_sum": 7256,
        "zero_weights": 0.00347222, "clipped_weights": 0,
        "cores": 1, "placement": {"name": "features.6", "neurons": 3528,
        "weight_bytes": 1152, "cores": 1, "neurons_per_core": 3528, "bytes_per_core": 1152, "neuron_share": 0.430664,
        "memory_share": 0.00878906, "kernel_copies": 1, "weight_bytes_total": 1152, "limited_by": "neurons"},
        "histogram": {"edges": [-0.02694, -0.02357, -0.0202, -0.01683, -0.01347, -0.0101, -0.006734, -0.003367, 0.0,
        0.003367, 0.006734, 0.0101, 0.01347, 0.01683, 0.0202, 0.02357, 0.02694], "before": [60, 88, 68, 72, 68, 68,
        88, 64, 72, 88, 76, 84, 52, 68, 76, 60], "after": [60, 88, 68, 72, 68, 72, 84, 64, 68, 92, 72, 88, 52, 72, 76,
        56]}, "verify": {"name": "features.6", "spikes": 56218, "compared": 1354752, "captured_mismatches": 0,
        "captured_ties": 0, "folded_mismatches": 0, "folded_ties": 0, "chip_mismatches": 1805, "chip_spikes": 55731,
        "end_to_end_mismatches": 16763, "rate_float": 0.0414969, "rate_chip": 0.0411374, "agreement": 0.998668,
        "f1": 0.994668, "rate_error": 0.000444,
        "agreement_end_to_end": 0.987627},
    },
    {
        "name": "features.10", "where": "chip", "kind": "dense", "input_shape": [3528], "output_shape": [16],
        "kernel": None, "stride": None, "neurons": 16, "weights": 56448, "scale": 3592.51, "payload": 1,
        "threshold": 1437, "voltage_decay": 2048, "current_decay": 4096, "bias_max": 0, "worst_sum": 111688,
        "zero_weights": 0.0967971, "clipped_weights": 0,
        "cores": 1, "placement": {"name": "features.10", "neurons": 16,
        "weight_bytes": 56448, "cores": 1, "neurons_per_core": 16, "bytes_per_core": 56448,
        "neuron_share": 0.00195312, "memory_share": 0.430664, "kernel_copies": 1, "weight_bytes_total": 56448,
        "limited_by": "memory"}, "histogram": {"edges": [-0.03535, -0.03093, -0.02651, -0.02209, -0.01768, -0.01326,
        -0.008838, -0.004419, 0.0, 0.004419, 0.008838, 0.01326, 0.01768, 0.02209, 0.02651, 0.03093, 0.03535],
        "before": [3340, 3204, 3040, 2988, 3212, 3156, 3284, 3160, 8412, 3384, 3232, 3196, 3236, 3044, 3380, 3180],
        "after": [3228, 3280, 3056, 3008, 3232, 3184, 3292, 2992, 8456, 3416, 3236, 3228, 3256, 3060, 3412, 3112]},
        "verify": {"name": "features.10", "spikes": 830, "compared": 6144, "captured_mismatches": 0,
        "captured_ties": 0, "folded_mismatches": 0, "folded_ties": 0, "chip_mismatches": 6, "chip_spikes": 816,
        "end_to_end_mismatches": 540, "rate_float": 0.135091, "rate_chip": 0.132812, "agreement": 0.999023,
        "f1": 0.995023, "rate_error": 0.000326,
        "agreement_end_to_end": 0.912109},
    },
    {
        "name": "voting_neurons.1", "where": "chip", "kind": "dense", "input_shape": [16], "output_shape": [20],
        "kernel": None, "stride": None, "neurons": 20, "weights": 320, "scale": 127.186, "payload": 1,
        "threshold": 50, "voltage_decay": 2048, "current_decay": 4096, "bias_max": 0, "worst_sum": 1093,
        "zero_weights": 0.0, "clipped_weights": 0,
        "cores": 1, "placement": {"name": "voting_neurons.1", "neurons": 20, "weight_bytes": 320,
        "cores": 1, "neurons_per_core": 20, "bytes_per_core": 320, "neuron_share": 0.00244141,
        "memory_share": 0.00244141, "kernel_copies": 1, "weight_bytes_total": 320, "limited_by": "neurons"},
        "histogram": {"edges": [-0.9985, -0.8737, -0.7489, -0.6241, -0.4993, -0.3745, -0.2496, -0.1248, 0.0, 0.1248,
        0.2496, 0.3745, 0.4993, 0.6241, 0.7489, 0.8737, 0.9985], "before": [20, 18, 20, 17, 19, 23, 20, 21, 21, 20,
        15, 22, 17, 19, 21, 27], "after": [19, 17, 22, 17, 19, 23, 20, 21, 19, 22, 15, 22, 18, 19, 20, 27]},
        "verify": {"name": "voting_neurons.1", "spikes": 1872, "compared": 7680, "captured_mismatches": 0,
        "captured_ties": 0, "folded_mismatches": 0, "folded_ties": 0, "chip_mismatches": 12, "chip_spikes": 1837,
        "end_to_end_mismatches": 1385, "rate_float": 0.24375, "rate_chip": 0.239193, "agreement": 0.998437,
        "f1": 0.994437, "rate_error": 0.000521,
        "agreement_end_to_end": 0.819661},
    },
]
_TRACES = [
    {
        "layer": "features.2", "neuron": [0, 12, 43], "clip": 0, "threshold": 0.4, "model": [0.2693, 0.3014, 0.1564,
        0.3434, 0.2179, 0.4823, 0.2668, 0.2023, 0.45, -0.09388, 0.05576, 0.4796, 0.2373, 0.3111, 0.5087, 0.1039],
        "folded": [0.2693, 0.3014, 0.1564, 0.3434, 0.2179, 0.4823, 0.2668, 0.2023, 0.45, -0.09388, 0.05576, 0.4796,
        0.2373, 0.3111, 0.5087, 0.1039], "chip": [0.2654, 0.2972, 0.1523, 0.3386, 0.2123, 0.4784, 0.2664, 0.1997,
        0.4486, -0.09428, 0.05461, 0.4819, 0.239, 0.3114, 0.5084, 0.1017], "spikes_model": [0, 0, 0, 0, 0, 1, 0, 0, 1,
        0, 0, 1, 0, 0, 1, 0], "spikes_chip": [0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0],
    },
    {
        "layer": "features.6", "neuron": [3, 4, 18], "clip": 0, "threshold": 0.4, "model": [0.2217, 0.2676, 0.3812,
        0.3686, 0.3858, 0.4227, 0.2257, 0.2575, 0.3194, 0.4809, 0.1518, 0.3888, 0.3286, 0.4004, 0.1893, 0.2899],
        "folded": [0.2217, 0.2676, 0.3812, 0.3686, 0.3858, 0.4227, 0.2257, 0.2575, 0.3194, 0.4809, 0.1518, 0.3888,
        0.3286, 0.4004, 0.1893, 0.2899], "chip": [0.2214, 0.2668, 0.3805, 0.3676, 0.3848, 0.4217, 0.2252, 0.2571,
        0.3188, 0.4799, 0.1512, 0.388, 0.3283, 0.3998, 0.3889, 0.3889], "spikes_model": [0, 0, 0, 0, 0, 1, 0, 0, 0, 1,
        0, 0, 0, 1, 0, 0], "spikes_chip": [0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
    },
    {
        "layer": "features.10", "neuron": [7], "clip": 0, "threshold": 0.4, "model": [0.0, 0.09506, 0.312, 0.1723,
        0.1899, 0.4748, 0.2531, -0.04283, 0.04821, 0.3524, 0.4384, 0.1302, 0.2969, 0.4873, 0.2556, 0.2312],
        "folded": [0.0, 0.09506, 0.312, 0.1723, 0.1899, 0.4748, 0.2531, -0.04283, 0.04821, 0.3524, 0.4384, 0.1302,
        0.2969, 0.4873, 0.2556, 0.2312], "chip": [0.0, 0.09492, 0.3133, 0.1736, 0.1915, 0.4754, 0.2539, -0.04147,
        0.04857, 0.3533, 0.4397, 0.1314, 0.2973, 0.4885, 0.2566, 0.231], "spikes_model": [0, 0, 0, 0, 0, 1, 0, 0, 0,
        0, 1, 0, 0, 1, 0, 0], "spikes_chip": [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0],
    },
    {
        "layer": "voting_neurons.1", "neuron": [18], "clip": 0, "threshold": 0.4, "model": [0.0, 0.0, 0.1032, -0.9606,
        -1.442, -0.4628, -0.1722, 0.1789, -1.079, 0.9047, 0.7483, -1.096, -0.2392, -0.5442, -0.007099, 1.487],
        "folded": [0.0, 0.0, 0.1032, -0.9606, -1.442, -0.4628, -0.1722, 0.1789, -1.079, 0.9047, 0.7483, -1.096,
        -0.2392, -0.5442, -0.007099, 1.487], "chip": [0.0, 0.0, 0.1101, -0.9592, -1.447, -0.4718, -0.173, 0.1808,
        -1.081, 0.9062, 0.7469, -1.101, -0.2359, -0.5425, -0.003931, 1.492], "spikes_model": [0, 0, 0, 0, 0, 0, 0, 0,
        0, 1, 1, 0, 0, 0, 0, 1], "spikes_chip": [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1],
    },
]
_VERIFY = {
    "accuracy": {"float": 0.5, "folded": 0.5, "chip": 0.5}, "ok": True, "clips": 24, "label_agreement": 1.0,
    "rate_error_mean": 0.0264323, "rate_error_max": 0.0875, "findings": [],
}
# fmt: on


def build_report():
    """A verified export."""
    return copy.deepcopy(
        {
            "schema": 2,
            "ok": True,
            "exit_code": 0,
            "stage": "verify",
            "tool": {"name": "neuroemo", "version": "0.1.0"},
            "versions": {"python": "3.10.14", "torch": "2.3.1", "spikingjelly": "0.0.0.0.14", "numpy": "1.26.4"},
            "model": {
                "source": "runs/mine",
                "kind": "checkpoint",
                "framework": "spikingjelly",
                "input_shape": [2, 48, 48],
                "steps": 16,
                "dt_us": 33333.0,
                "first_frame": "float",
                "voting": 10,
                "classes": ["negative", "positive"],
            },
            "target": "loihi2",
            "input_encoding": "graded",
            "weight_bits": 8,
            "bundle": "exports/mine",
            "allowed": [],
            "lossy": [],
            "arguments": {"model": "runs/mine", "target": "loihi2"},
            "proved_on": "24 of 24 random clips",
            "findings": [
                finding("W650", "warning", "data", "no --data were given: proved on 24 clips of random spikes")
                | {"fix": "--data CLIPS.npy, prepared events or videos: agreement on noise says little about your data"}
            ],
            "network": {"captured": _CAPTURED, "folded": _FOLDED},
            "layers": _LAYERS,
            "placement": {
                "cores": 5,
                "chips": 1,
                "cores_per_chip": 128,
                "neurons": 12028,
                "weight_bytes": 57992,
                "weight_bytes_total": 57992,
            },
            "traces": _TRACES,
            "verify": _VERIFY | {"layers": [layer["verify"] for layer in _LAYERS]},
        }
    )


def finding(code, severity, where, found, limit="", over=""):
    return {
        "code": code,
        "severity": severity,
        "node": where,
        "found": found,
        "limit": limit,
        "over": over,
        "fix": "export again",
    }


def failed_report():
    """An export whose integers lose too much: written, exit code 5."""
    report = build_report()
    report |= {"ok": False, "exit_code": 5}
    told = report["layers"][1]["verify"]
    told |= {"chip_mismatches": told["compared"] // 10, "agreement": 1 - (told["compared"] // 10) / told["compared"]}
    told |= {"folded_mismatches": 31, "folded_ties": 2}
    report["findings"] = [
        finding("E412", "error", "features.6", "29 of 1354752 spikes of the folded graph differ", "0", "29"),
        finding("E413", "error", "features.6", "90.00% of the spikes survive quantisation", "97%", "7.00%"),
    ]
    report["verify"] |= {"ok": False, "label_agreement": 0.625, "findings": report["findings"]}
    report["verify"]["accuracy"]["chip"] = 0.4583
    return report


def refused_report():
    """A network that the target cannot express: captured, never quantised, exit code 3."""
    report = build_report()
    for key in ("layers", "placement", "traces", "verify", "bundle", "proved_on"):
        report[key] = None
    del report["network"]["folded"]
    report |= {"ok": False, "exit_code": 3, "stage": "fold"}
    report["findings"] = [
        finding("E130", "error", "features.3", "max pooling of currents or gray values, not of spikes")
        | {"fix": "pool after the neuron (conv, neuron, max pool), or use average pooling"},
        finding("E113", "error", "voting_neurons.0", "the network ends in synapses without a neuron")
        | {"fix": "end it in a spiking neuron: the chip only hands out spikes"},
    ]
    return report


def bare_report():
    """The least that a report holds: a run that ended before anything was known."""
    return {
        "schema": 2,
        "ok": False,
        "exit_code": 2,
        "stage": "load",
        "tool": {"name": "neuroemo", "version": "0.1.0"},
        "target": "loihi2",
        "findings": [{"code": "E063", "severity": "error", "found": "no such file"}],
    }


def one_layer_report():
    """A network of one dense layer."""
    report = build_report()
    report["network"] = {"captured": _CAPTURED[-2:], "folded": _FOLDED[-2:]}
    for key in ("layers", "traces"):
        report[key] = report[key][-1:]
    report["placement"] |= {"cores": 1, "neurons": 20, "weight_bytes": 320}
    return copy.deepcopy(report)


def deep_report(layers=20):
    """A network of many convolutions, the first on the host, the last over many cores."""
    report = one_layer_report()
    captured, folded, chip = [], [], []
    for index in range(layers):
        name, shape = f"stage{index // 4}.block{index % 4}", [64, 56, 56]
        captured += [
            node(f"{name}.conv", "Conv2d", shape, shape, 36864, "3x3, stride 1, padding 1"),
            node(f"{name}.norm", "BatchNorm", shape, shape, 256, "eps 1e-05"),
            node(f"{name}.neuron", "LIF", shape, shape, 0, "decay 0.5, threshold 0.4, gain 0.5"),
        ]
        folded += [captured[-3] | {"parameters": 36928}, captured[-1]]
        layer = copy.deepcopy(_LAYERS[1]) | {"name": f"{name}.neuron", "input_shape": shape, "output_shape": shape}
        layer |= {"neurons": 200704, "weights": 36864, "kernel": [3, 3], "stride": [1, 1], "cores": 25 + 5 * index}
        layer["placement"] |= {"cores": 25 + 5 * index, "neurons_per_core": 8029, "neuron_share": 0.9801}
        layer["verify"] |= {"end_to_end_mismatches": 4000 * (index + 1), "agreement_end_to_end": None}
        chip.append(layer)
    chip[0] |= {"where": "host", "placement": None, "cores": None, "scale": None, "threshold": None}
    report |= {"network": {"captured": captured, "folded": folded}, "layers": chip}
    report["placement"] |= {"cores": 1425, "chips": 12, "neurons": 200704 * layers, "weight_bytes": 36864 * layers}
    return report


def hostile_report():
    """The same report with every free text hostile: markup, Markdown, control characters, endless names."""
    return _hostile(build_report())


def _hostile(value, key=""):
    if isinstance(value, dict):
        return {name: _hostile(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_hostile(item) for item in value]
    if isinstance(value, str) and key not in ("type", "severity", "where", "target"):
        return f"{value}{HOSTILE}|`*_[x](http://e)\n# \x00\u202e\ud800 感情層🙂 " + "veryLongName" * 12
    return value
