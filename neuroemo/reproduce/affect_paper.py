"""Tables 1 to 5 of the second paper as printed, and what each contradicts: figures that are never computed here.

Berlincioni, Cultrera, Becattini, Del Bimbo, "Neuromorphic Valence and Arousal Estimation"; arousal is printed before
valence. Where the text and a table disagree the table is kept and the notes say it. docs/affect-tables.md tells more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

TITLE = "Neuromorphic Valence and Arousal Estimation"
OUTPUTS = ("valence", "arousal")
PIXELS = 224
ROUNDING = 0.0005
"""Half of the last digit of Tables 1 and 2."""

FRAME_BASED = ("resnet18", "vit")
VIDEO_BASED = ("resnet-fusion", "ic3d", "resnet-lstm", "resnet-transformer")
NETWORKS = FRAME_BASED + VIDEO_BASED
"""The six networks by their names here, in the order of Tables 1 and 2."""

TITLES = {
    "resnet18": "ResNet18",
    "vit": "ViT",
    "resnet-fusion": "ResNet+Fusion",
    "ic3d": "IC3D",
    "resnet-lstm": "ResNet+LSTM",
    "resnet-transformer": "ResNet+Transf.",
}


@dataclass(frozen=True, slots=True)
class Printed:
    """What a table prints of one output of one network; None where it prints nothing."""

    rmse: float
    pcc: float | None = None
    sagr: float | None = None


Row = dict[str, Printed]
"""The printed figures by output."""


def _row(arousal: Printed, valence: Printed) -> Row:
    return {"arousal": arousal, "valence": valence}


REGRESSION: dict[str, Row] = {
    "resnet18": _row(Printed(0.200, 0.307, 0.803), Printed(0.246, 0.110, 0.466)),
    "vit": _row(Printed(0.173, 0.340, 0.802), Printed(0.211, 0.005, 0.463)),
    "resnet-fusion": _row(Printed(0.124, 0.580, 0.805), Printed(0.191, 0.297, 0.451)),
    "ic3d": _row(Printed(0.130, 0.520, 0.812), Printed(0.201, 0.141, 0.455)),
    "resnet-lstm": _row(Printed(0.153, 0.525, 0.799), Printed(0.222, 0.209, 0.413)),
    "resnet-transformer": _row(Printed(0.133, 0.490, 0.815), Printed(0.226, 0.132, 0.449)),
}
"""Table 1 (the first two) and Table 2, by network; TBR of 8 bits."""

RGB: dict[str, Row] = {
    "Kossaifi et al. (2017)": _row(Printed(0.23), Printed(0.27)),
    "Mitenkova et al. (2019)": _row(Printed(0.41), Printed(0.40)),
    "Kollias et al. (2020)": _row(Printed(0.27), Printed(0.48)),
    "Handrich et al. (2020)": _row(Printed(0.26), Printed(0.28)),
    "Kossaifi et al. (2020)": _row(Printed(0.24), Printed(0.24)),
    "Toisoul et al. (2021)": _row(Printed(0.22), Printed(0.23)),
    "Parameshwara et al. (2023)": _row(Printed(0.19), Printed(0.21)),
}
"""Table 3: methods of others on the film itself, as the paper quotes them; none of them is computed here."""

BEST: dict[str, Row] = {
    "frame": _row(Printed(0.17), Printed(0.21)),
    "video": _row(Printed(0.12), Printed(0.19)),
}
"""Table 3: the paper's best frame-based and video-based network on events."""

BITS: dict[str, dict[int, Row]] = {
    "resnet-fusion": {
        8: _row(Printed(0.124), Printed(0.191)),
        16: _row(Printed(0.176), Printed(0.218)),
    },
    "vit": {8: _row(Printed(0.173), Printed(0.211)), 16: _row(Printed(0.232), Printed(0.305))},
    "ic3d": {8: _row(Printed(0.130), Printed(0.201)), 16: _row(Printed(0.201), Printed(0.302))},
    "resnet-transformer": {8: _row(Printed(0.133), Printed(0.226)), 16: _row(Printed(0.132), Printed(0.230))},
}
"""Table 4 by network and bits. Its row "ResNet" stands here as ResNet+Fusion, whose figures of Table 2 it repeats."""

ACCURACY = {"RGB, Berlincioni et al. (2023)": 14.60, "Events, Berlincioni et al. (2023)": 22.95}
"""Table 5: networks trained on NEFER itself, accuracy in per cent; never computed here."""

ZERO_SHOT = {"frame": 19.20, "video": 20.80}
"""Table 5: trained on events of AFEW-VA, tested on NEFER, accuracy in per cent."""

ZERO_SHOT_NETWORK = {"frame": "vit", "video": "resnet-fusion"}
"""Which networks Table 5 says that it uses."""

CAPTIONS = {
    "affect-table1": "Table 1: valence and arousal from single event frames",
    "affect-table2": "Table 2: valence and arousal from chunks of six event frames",
    "affect-table3": "Table 3: our best networks on events beside published methods on the film",
    "affect-table4": "Table 4: event frames of 8 and of 16 bits",
    "affect-table5": "Table 5: emotions by the nearest prototype, without training on them",
}

_ZERO = "The paper does not say how SAGR treats a target of exactly 0, whose sign no real output can match."

NOTES: dict[str, tuple[str, ...]] = {
    "affect-table1": (
        "The paper's SAGR of valence, 0.41 to 0.47, is below a coin flip. " + _ZERO,
        "Section 4.1 speaks of ResNet18 features of dimension 1024; ResNet18 has 512.",
    ),
    "affect-table2": (
        "Section 5.2 calls ResNet+Fusion the best frame-based and ViT the best video-based network, and so do the "
        "captions of Figures 3 and 4; Tables 1 and 2 have them the other way round.",
        "Section 4.1 speaks of ResNet18 features of dimension 1024; ResNet18 has 512.",
        _ZERO,
    ),
    "affect-table3": (
        "The rows of other authors are copied from the paper and computed nowhere here. They are of the film and of "
        "other splits, and an RMSE of one split does not compare with that of another.",
        "Section 5.2 names ResNet+Fusion as the best frame-based and ViT as the best video-based network; the figures "
        "in the table are those of ViT (frame) and of ResNet+Fusion (video).",
    ),
    "affect-table4": (
        'The table\'s row "ResNet" repeats, with 8 bits, the figures that Table 2 prints for ResNet+Fusion (0.124 and '
        "0.191); ResNet18 has 0.200 and 0.246 in Table 1. It stands here beside ResNet+Fusion. ResNet18 (or "
        "ResNet+Fusion) and ResNet+LSTM are missing in the paper's table.",
        "The text says that 8 bits are better for every network in every metric; the arousal of ResNet+Transf. is "
        "better with 16 bits (0.132 against 0.133).",
        "The text says that 16 bits compress the events and lose information. With slices of the same length, 16 bits "
        "hold every slice that 8 bits hold and 8 more: what changes is that a frame lasts 80 ms and not 40 ms, so "
        "that there are half as many frames.",
    ),
    "affect-table5": (
        "NEFER comes with a training and a validation list and with no test list. The paper's 19.20 and 20.80 per "
        "cent are exactly 24 and 26 of the 125 videos of the validation list, so that list is the test here too.",
        "26 right answers of 125 have a 95 % Wilson interval of 14.6 to 28.7 per cent, and chance is 14.3: the "
        "published accuracies are not clearly above it.",
        "The prototypes are made from the training labels of NEFER, so zero-shot says only that no weight was trained "
        "on them.",
    ),
}
"""What the paper leaves open or contradicts, under the table that it concerns."""


def spread_bound(output: str, rounding: float = 0.0) -> float:
    """Return the most that the standard deviation of the labels can be, if the printed figures are of one test set.

    Whatever the prediction, RMSE² >= variance (1 - PCC²); so the deviation, which is the RMSE of predicting the mean,
    is at most RMSE / sqrt(1 - PCC²) of every row. ``rounding`` is added to every figure first.

    >>> [round(spread_bound(output), 3) for output in ("arousal", "valence")]
    [0.152, 0.2]
    """
    pairs = [(row[output].rmse, row[output].pcc or 0.0) for row in REGRESSION.values()]
    return min((rmse + rounding) / math.sqrt(1 - (abs(pcc) + rounding) ** 2) for rmse, pcc in pairs)


def bound_note() -> str:
    """Return why the RMSE of the paper says little on its own; a row counts only where rounding cannot excuse it.

    >>> bound_note().partition("prints ")[2][:85]
    'for ResNet18, ViT in arousal and for ResNet18, ViT, ResNet+LSTM, ResNet+Transf. in va'
    """
    arousal, valence = spread_bound("arousal"), spread_bound("valence")
    return (
        "RMSE alone misleads: for every prediction RMSE² ≥ variance · (1 − PCC²), so the paper's own figures bound "
        f"the standard deviation of its labels by {arousal:.3f} (arousal) and {valence:.3f} (valence), if they are "
        "pooled over one test set. Predicting the mean then has at most that RMSE, which is "
        f"lower than what the paper prints for {_beaten('arousal')} in arousal and for {_beaten('valence')} in "
        "valence, and than every RGB row of Table 3."
    )


def _beaten(output: str) -> str:
    bound = spread_bound(output, ROUNDING)
    return ", ".join(TITLES[name] for name, row in REGRESSION.items() if row[output].rmse - ROUNDING > bound)
