"""Lemaire et al. (ICONIP 2022): operations, memory accesses and addressing of an SNN and of its ANN, layer by layer.

E = E_operations + E_memory + E_addressing with E_operations = N_ACC E_ADD + N_MAC (E_ADD + E_MUL); the counts
N are in ``charges.py``, the energy of a memory access in ``sram.py``. The paper approximates the fan-out of a
spike; here it is the counted one (``approximate=True`` gives the paper's).
"""

from __future__ import annotations

from dataclasses import dataclass

from neuroemo.profiling.counting.counts import OpCounts
from neuroemo.profiling.memory.charges import Charge, check_samples, dense_charges, spiking_charges
from neuroemo.profiling.memory.rows import WORD_BITS, check_layers, check_positive, has_rows, take_rows, word_bits
from neuroemo.profiling.memory.sram import ACCESS_TEXT, ROWS, AccessModel, Sram
from neuroemo.profiling.priced import EnergyModel, Priced, Side
from neuroemo.profiling.prices import PriceList

TAKEN = tuple(name for name in WORD_BITS if name != "int4")
"""Precisions for which the model knows the width of a word; the price list must have their rows."""

ADDRESS = "int32"
"""Addresses are computed and sent at this precision whatever the data have: the paper's numbers are 32 bits wide."""

CITATION = (
    "E. Lemaire, L. Cordone, A. Castagnetti, P.-E. Novac, J. Courtois, B. Miramond: An Analytical Estimation of "
    "Spiking Neural Networks Energy Efficiency. ICONIP 2022, LNCS, pp. 574-587, doi:10.1007/978-3-031-30105-6_48"
)


@dataclass(frozen=True, slots=True)
class LemaireOptions:
    """The choices that the published model leaves open.

    ``access``: the energy of a memory access (``sram.ACCESS_TEXT``). ``approximate``: the paper's fan-out
    instead of the counted one. ``queue``: spikes that the queue of a layer holds (the paper's experiments:
    1000). ``reuse``: how often the ANN uses a fetched input or weight (the paper: 1).
    """

    access: AccessModel = "share"
    approximate: bool = False
    queue: int = 1000
    reuse: float = 1.0


DEFAULT = LemaireOptions()


def price_lemaire(
    counts: OpCounts, prices: PriceList, precision: str, side: Side, *, options: LemaireOptions = DEFAULT
) -> Priced:
    """Price counts under the model, in pJ per sample.

    Raises:
        UnsupportedError: a precision or a layer that the model cannot charge.
        InputError: a price list without the rows it needs, options out of range, no sample.
    """
    check_positive("lemaire", {"queue": options.queue, "reuse": options.reuse})
    bits = word_bits("lemaire", precision, TAKEN)
    check_samples(counts)
    check_layers(counts, "lemaire", side)
    rows = take_rows(prices, needed_rows(precision), "lemaire")
    sram = Sram.of(rows, options.access)
    if side == "snn":
        charges = spiking_charges(counts, approximate=options.approximate)
    else:
        charges = dense_charges(counts, approximate=options.approximate, reuse=options.reuse)
    add, mult = rows[f"arithmetic.{precision}.add"].value, rows[f"arithmetic.{precision}.mult"].value
    address_add, address_mult = rows[f"arithmetic.{ADDRESS}.add"].value, rows[f"arithmetic.{ADDRESS}.mult"].value
    flat = {
        "add": add,
        "mac": add + mult,
        "address_add": address_add,
        "address_mac": address_add + address_mult,
        "message": sram.access_pj(options.queue, WORD_BITS[ADDRESS]),
    }
    layers: dict[str, dict[str, float]] = {}
    for charge in charges:
        price = sram.access_pj(charge.words, bits) if charge.unit == "access" else flat[charge.unit]
        parts = layers.setdefault(charge.layer, {})
        parts[charge.part] = parts.get(charge.part, 0.0) + charge.count * price / counts.samples
    return Priced(
        model=model_id(options),
        prices=prices.target,
        precision=precision,
        side=side,
        samples=counts.samples,
        steps=counts.steps,
        layers=layers,
        constants=tuple(rows),
        assumptions=tuple(_assumptions(counts, charges, side, options)),
        partial=tuple(counts.partial),
    )


def needed_rows(precision: str) -> tuple[str, ...]:
    """Return the ids of the prices that the model charges at a precision."""
    arithmetic = (f"arithmetic.{name}.{row}" for name in (precision, ADDRESS) for row in ("add", "mult"))
    return (*dict.fromkeys(arithmetic), *ROWS)


def precisions(prices: PriceList) -> tuple[str, ...]:
    """Return the precisions at which the model can price with a list."""
    return tuple(name for name in TAKEN if has_rows(prices, needed_rows(name)))


def model_id(options: LemaireOptions) -> str:
    """Return the name of a variant: what differs from the default is in it.

    >>> model_id(LemaireOptions()), model_id(LemaireOptions(access="linear", approximate=True))
    ('lemaire', 'lemaire-linear-approximate')
    """
    access = "" if options.access == DEFAULT.access else f"-{options.access}"
    fan_out = "-approximate" if options.approximate else ""
    queue = "" if options.queue == DEFAULT.queue else f"-queue{options.queue}"
    return f"lemaire{access}{fan_out}{queue}" + ("" if options.reuse == 1 else f"-reuse{options.reuse:g}")


def lemaire_model(options: LemaireOptions = DEFAULT) -> EnergyModel:
    """Return the model with these options as one of the energy models."""

    def price(counts: OpCounts, prices: PriceList, precision: str, side: Side) -> Priced:
        return price_lemaire(counts, prices, precision, side, options=options)

    return EnergyModel(
        id=model_id(options),
        title="Lemaire et al. 2022, exact fan-out" if not options.approximate else "Lemaire et al. 2022, as printed",
        scope="arithmetic, on-chip memory accesses and addressing; no routing, control, leakage or off-chip memory",
        citation=CITATION,
        url="https://doi.org/10.1007/978-3-031-30105-6_48",
        price=price,
    )


def _assumptions(counts: OpCounts, charges: list[Charge], side: Side, options: LemaireOptions) -> list[str]:
    sides = {"snn": _spiking_assumptions, "ann": _dense_assumptions}
    said = [
        ACCESS_TEXT[options.access],
        "Each layer has memories of its own, as large as what one evaluation stores; addresses are computed with "
        f"{ADDRESS} arithmetic.",
        "A bias is charged where a layer stores one; folding batch normalisation into a layer without a bias would "
        "add one, which is not charged.",
    ]
    return said + sides[side](counts, charges, options)


def _spiking_assumptions(counts: OpCounts, charges: list[Charge], options: LemaireOptions) -> list[str]:
    said = [
        f"Spikes travel through queues of {options.queue} messages of 32 bits; every synaptic event reads a weight "
        "and reads and writes a potential.",
        "An update of a neuron costs one multiply-accumulate per leaking state and reads and writes each state; "
        "every spike costs one addition for the reset; the comparison with the threshold is free.",
        f"Average pooling: {counts.policy.pooling}.",
    ]
    if options.approximate:
        said.append(
            "The fan-out of a spike is the paper's ceil(kernel / stride) for operations and the whole kernel for "
            "memory, not the counted one."
        )
    if any(layer.macs for layer in counts.layers.values() if layer.kind == "synapse"):
        said.append(
            "A graded value is a multiply-accumulate at every synapse it reaches and one message; the paper has "
            "binary spikes only."
        )
    if any(charge.part == "output writes" for charge in charges):
        said.append("A layer with no neurons behind it keeps its sums like potentials and writes them once per step.")
    return said


def _dense_assumptions(counts: OpCounts, charges: list[Charge], options: LemaireOptions) -> list[str]:
    used = "once" if options.reuse == 1 else f"{options.reuse:g} times"
    said = [
        f"The ANN uses every weight and convolution input that it fetches {used}: an accelerator that keeps them at "
        "hand spends a fraction of this.",
        "Zero inputs of the ANN are not skipped; activation functions are free.",
    ]
    if any(layer.kind == "neuron" for layer in counts.layers.values()):
        said.append("Spiking neurons in the counts are taken for activation functions and cost nothing.")
    return said


LEMAIRE = lemaire_model()
