"""A report as the demo writes it, with plausible numbers that come from here and not from code under test."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

STEPS = 16
LAYERS = (  # name, kind, input, output, weights
    ("features.2", "conv", [2, 48, 48], [12, 46, 46], 216),
    ("features.6", "conv", [12, 23, 23], [16, 21, 21], 1728),
    ("features.10", "conv", [16, 10, 10], [16, 8, 8], 2304),
    ("features.14", "dense", [256], [64], 16384),
    ("voting_neurons.1", "dense", [64], [20], 1280),
)


def png(pixels: np.ndarray) -> str:
    """A data URI of an 8-bit picture [H, W, 3]."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels.astype(np.uint8))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(data).decode()


def face(step: int) -> np.ndarray:
    """A gray face [48, 48] in 0 … 1 whose mouth bends and whose head moves with the step."""
    y, x = np.mgrid[0:48, 0:48].astype(float)
    x, y = x - 24 - 1.5 * np.sin(step / 3), y - 24 - 0.8 * np.cos(step / 4)
    skin = 0.78 - 0.004 * (x + 12)
    image = np.where((x / 15) ** 2 + (y / 19) ** 2 < 1, skin, 0.18 + 0.003 * (y + 24))
    for side in (-6, 6):
        image = np.where(((x - side) / 2.6) ** 2 + ((y + 5) / 1.7) ** 2 < 1, 0.12, image)
        image = np.where((abs(x - side) < 4) & (abs(y + 9 + 0.1 * step) < 1), 0.3, image)
    bend = 0.06 * min(step, 10) / 10
    return np.where((abs(x) < 7) & (abs(y - 9 + bend * (x**2 - 20)) < 1.2), 0.25, image)


def film(rng: np.random.Generator) -> dict:
    steps = [0, 3, 6, 9, 12, 15]
    frames, events = [], []
    for step in steps:
        gray = face(step) + rng.normal(0, 0.004, (48, 48))
        frames.append(png(np.repeat((gray.clip(0, 1) * 255)[:, :, None], 3, 2)))
        change = gray - face(step - 1) if step else np.zeros((48, 48))
        colours = np.zeros((48, 48, 3)) + 16
        colours[change > 0.02] = (240, 170, 60)
        colours[change < -0.02] = (70, 150, 240)
        events.append(png(colours) if step else frames[0])
    return {
        "name": "s031_happy_02.mp4",
        "label": "positive",
        "steps": steps,
        "frames_png": frames,
        "events_png": events,
    }


def vote(rng: np.random.Generator, label: str, predicted: str, clip: str, steps: int = STEPS) -> dict:
    lively = 10 if predicted == "positive" else 0
    drive = rng.uniform(0.05, 0.22, 20)
    drive[lively : lively + 10] += 0.14
    membrane, spikes, rest = [], [], np.zeros(20)
    for _ in range(steps):
        potential = 0.55 * rest + drive + rng.normal(0, 0.09, 20)
        fired = potential >= 0.4
        membrane.append([round(float(v), 5) for v in potential])
        spikes.append([int(f) for f in fired])
        rest = np.where(fired, 0.0, potential)
    rates = [float(np.mean([row[:10] for row in spikes])), float(np.mean([row[10:] for row in spikes]))]
    return {
        "clip": clip,
        "label": label,
        "predicted": predicted,
        "rates": rates,
        "spikes": spikes,
        "membrane": membrane,
        "threshold": 0.4,
    }


def history(rng: np.random.Generator, epochs: int, final: float) -> dict:
    rows = []
    for epoch in range(1, epochs + 1):
        done = 1 - np.exp(-epoch / 4)
        rows.append(
            {
                "epoch": epoch,
                "loss": float(0.26 - 0.2 * done + rng.normal(0, 0.004)),
                "val_accuracy": float(np.clip(0.5 + (final - 0.5) * done + rng.normal(0, 0.012), 0, 1)),
                "val_loss": float(0.27 - 0.18 * done + rng.normal(0, 0.008)),
            }
        )
    settings = {"epochs": epochs, "batch": 32, "learning_rate": 0.002, "optimiser": "adam", "seed": 7}
    return {"settings": settings, "epochs": rows}


def curve(rng: np.random.Generator, final: float, loss: float) -> dict:
    done = 1 - np.exp(-np.arange(STEPS) / 4)
    accuracy = 0.5 + (final - 0.5) * done + (rng.normal(0, 0.01, STEPS) if final > 0.5 else 0)
    return {"accuracy": accuracy.clip(0, 1).tolist(), "loss": (0.5 - (0.5 - loss) * done).tolist()}


def chip_layers(rng: np.random.Generator) -> list[dict]:
    layers = []
    for index, (name, kind, inputs, outputs, weights) in enumerate(LAYERS):
        neurons = int(np.prod(outputs))
        compared = neurons * STEPS * 64
        wrong = int(compared * rng.uniform(0.0004, 0.004))
        rate = float(rng.uniform(0.06, 0.2))
        layers.append(
            {
                "name": name,
                "kind": kind,
                "input_shape": inputs,
                "output_shape": outputs,
                "kernel": [3, 3] if kind == "conv" else None,
                "stride": [1, 1] if kind == "conv" else None,
                "neurons": neurons,
                "weights": weights,
                "scale": float(2.0 ** -int(rng.integers(6, 11))),
                "threshold": int(rng.integers(2000, 90000)),
                "voltage_decay": int(rng.integers(1400, 2600)),
                "bias_max": int(rng.integers(10, 3000)),
                "zero_weights": 0.013,
                "cores": (7, 2, 1, 1, 1)[index],
                "payload": "graded 8 bit" if index in (0, 3) else "binary",
                "verify": {
                    "compared": compared,
                    "captured_mismatches": 0,
                    "folded_mismatches": 3 if index == 1 else 0,
                    "chip_mismatches": wrong,
                    "rate_float": rate,
                    "rate_chip": rate * 1.004,
                    "agreement": 1 - wrong / compared,
                    "agreement_end_to_end": 1 - wrong * (1.5 + index) / compared,
                },
            }
        )
    return layers


def energy() -> dict:
    acs, macs = [0, 1410221.5, 389020.25, 91033.75, 6404.5], [457056, 212004.5, 81220.25, 0, 0]
    dense = [7312896, 12192768, 2359296, 262144, 20480]
    layers = [
        {
            "name": name,
            "acs": a,
            "macs": m,
            "dense_macs": d,
            "spikes_in": round(a / 90 + 100, 2),
            "snn_mj": (a * 0.9 + m * 4.6) * 1e-9,
        }
        for (name, *_), a, m, d in zip(LAYERS, acs, macs, dense, strict=True)
    ]
    names = ("features.0", "features.4", "features.8", "features.13", "classifier")
    ann_macs = (3656448, 762048, 147456, 16384, 128)
    ann = [{"name": n, "macs": m, "ann_mj": m * 4.6e-9} for n, m in zip(names, ann_macs, strict=True)]
    return {
        "snn_mj": sum(layer["snn_mj"] for layer in layers),
        "ann_mj": sum(layer["ann_mj"] for layer in ann),
        "acs": sum(acs),
        "macs": sum(macs),
        "ann_macs": sum(layer["macs"] for layer in ann),
        "precision": "fp32",
        "ac_pj": 0.9,
        "mac_pj": 4.6,
        "neuron_updates": 536000,
        "neuron_mj": 536000 * 5.5e-9,
        "break_even_steps": 58.4,
        "layers": layers,
        "ann_layers": ann,
        "note": "Mean of 240 test clips. 45 nm prices of Horowitz (2014); memory traffic is not priced.",
        "table2": {
            "paper": {
                "ann_first_macs": 310.9e6,
                "snn_first_acs": 9.1e6,
                "other_ops": 47.9e6,
                "ann_mj": 1.65,
                "snn_mj_30": 1.57,
                "snn_mj_dataset": 0.41,
                "break_even_steps": 32,
            },
            "exact": {
                "ann_first_macs": 310915584,
                "snn_first_acs": 9144576,
                "other_ops": 47942656,
                "ann_mj": 1.650747898,
                "snn_mj_30": 1.575178,
                "snn_mj_dataset": 0.410967,
                "break_even_steps": 31.47,
            },
        },
    }


def modules() -> list[dict]:
    rows, channels, size = [], 2, 48
    for stage, width in enumerate((12, 16, 16)):
        size -= 2
        base = 4 * stage
        rows += [
            {
                "name": f"features.{base}",
                "kind": "Conv2d",
                "output_shape": [width, size, size],
                "parameters": 9 * channels * width,
                "neurons": 0,
                "tau": None,
            },
            {
                "name": f"features.{base + 1}",
                "kind": "BatchNorm2d",
                "output_shape": [width, size, size],
                "parameters": 2 * width,
                "neurons": 0,
                "tau": None,
            },
            {
                "name": f"features.{base + 2}",
                "kind": "ParametricLIFNode",
                "output_shape": [width, size, size],
                "parameters": 1,
                "neurons": width * size * size,
                "tau": 1.87 + stage / 10,
            },
        ]
        size //= 2
        rows.append(
            {
                "name": f"features.{base + 3}",
                "kind": "AvgPool2d",
                "output_shape": [width, size, size],
                "parameters": 0,
                "neurons": 0,
                "tau": None,
            }
        )
        channels = width
    return [
        *rows,
        {"name": "features.12", "kind": "Flatten", "output_shape": [256], "parameters": 0, "neurons": 0, "tau": None},
        {"name": "features.13", "kind": "Linear", "output_shape": [64], "parameters": 16384, "neurons": 0, "tau": None},
        {
            "name": "features.14",
            "kind": "ParametricLIFNode",
            "output_shape": [64],
            "parameters": 1,
            "neurons": 64,
            "tau": 2.41,
        },
        {
            "name": "voting_neurons.0",
            "kind": "Linear",
            "output_shape": [20],
            "parameters": 1280,
            "neurons": 0,
            "tau": None,
        },
        {
            "name": "voting_neurons.1",
            "kind": "ParametricLIFNode",
            "output_shape": [20],
            "parameters": 1,
            "neurons": 20,
            "tau": 2.02,
        },
    ]


def build_report(seed: int = 3) -> dict:
    """The whole report."""
    rng = np.random.default_rng(seed)
    parts = [int(np.prod(outputs)) * STEPS * 8 for _, _, _, outputs, _ in LAYERS]
    accuracy = {"float": 0.9375, "quantised": 0.9354, "lava": 1.0, "ann": 0.9458, "trivial": 0.6125, "chance": 0.5}
    return {
        "schema": 1,
        "title": "Positive or negative: synthetic faces on Loihi 2",
        "tool": {"name": "neuroemo", "version": "0.1.0"},
        "command": "neuroemo demo --out runs/demo --seed 7",
        "accuracy": accuracy,
        "accuracy_clips": {"float": 240, "quantised": 240, "lava": 8, "ann": 240, "trivial": 240, "chance": 240},
        "intervals_95": {
            "float": [0.8993, 0.9618],
            "quantised": [0.8968, 0.9601],
            "lava": [0.6756, 1.0],
            "ann": [0.9093, 0.9681],
            "trivial": [0.5497, 0.6720],
        },
        "data": {
            "name": "synthetic faces",
            "synthetic": True,
            "classes": ["negative", "positive"],
            "clips": {"train": 960, "val": 120, "test": 240},
            "subjects": {"train": 32, "val": 4, "test": 8},
            "size": 48,
            "steps": STEPS,
            "fps": 15.0,
            "first_frame": "float",
            "sens": 0.001,
        },
        "events": {"density": 0.0912, "density_any_polarity": 0.1823, "density_on": 0.0961, "density_off": 0.0863},
        "clip": film(rng),
        "network": {
            "name": "demo",
            "neuron": "plif",
            "threshold": 0.4,
            "parameters": sum(m["parameters"] for m in modules()),
            "layers": modules(),
        },
        "training": {"snn": history(rng, 20, 0.95), "ann": history(rng, 20, 0.96)},
        "steps": {"before": curve(rng, 0.5, 0.5), "during": curve(rng, 0.72, 0.27), "after": curve(rng, 0.94, 0.07)},
        "export": {
            "target": "loihi2",
            "bundle": "runs/demo/bundle",
            "file_bytes": 834560,
            "ok": True,
            "label_agreement": 0.9917,
            "rate_error_mean": 0.00412,
            "layers": chip_layers(rng),
            "findings": [
                {
                    "code": "W210",
                    "severity": "warning",
                    "node": "features.13",
                    "found": "213 of 16384 weights round to 0",
                    "limit": "1 %",
                    "over": "0.3 %",
                    "fix": "train longer or widen the range",
                },
                {
                    "code": "N101",
                    "severity": "note",
                    "node": "features.3",
                    "found": "average pool folded into the next convolution",
                    "limit": "",
                    "over": "",
                    "fix": "",
                },
            ],
        },
        "lava": {
            "clips": 8,
            "steps": STEPS,
            "mismatched_spikes": 0,
            "compared_spikes": sum(parts),
            "seconds_per_step": 0.84,
            "layers": [
                {"name": layer[0], "compared": part, "mismatched": 0} for layer, part in zip(LAYERS, parts, strict=True)
            ],
        },
        "simulation": {"clips": 240, "clips_per_s": 61.3},
        "voting": {
            "right": vote(rng, "positive", "positive", "s031_happy_02.mp4"),
            "wrong": vote(rng, "positive", "negative", "s034_sad_05.mp4"),
        },
        "energy": energy(),
        "timings": {
            "faces": 12.4,
            "events": 3.1,
            "train SNN": 148.2,
            "train ANN": 31.9,
            "export": 6.6,
            "simulate": 3.9,
            "lava": 108.0,
            "energy": 9.2,
        },
        "next": [
            "neuroemo verify runs/demo/bundle",
            "neuroemo energy runs/demo/snn --data runs/demo/faces",
            "neuroemo train --data YOUR_VIDEOS",
        ],
    }
