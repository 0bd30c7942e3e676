"""Published energy models that charge memory and data movement as well as arithmetic (``docs/energy-models.md``)."""

from __future__ import annotations

from collections.abc import Callable

from neuroemo.profiling.memory import davidson, lemaire, yan
from neuroemo.profiling.memory.break_even import spikes_per_synapse
from neuroemo.profiling.memory.davidson import DAVIDSON, break_even_spikes, price_davidson
from neuroemo.profiling.memory.lemaire import LEMAIRE, LemaireOptions, lemaire_model, price_lemaire
from neuroemo.profiling.memory.yan import YAN, YanOptions, activation_bits, break_even_rate, price_yan, yan_model
from neuroemo.profiling.priced import EnergyModel
from neuroemo.profiling.prices import PriceList

__all__ = [
    "DAVIDSON",
    "LEMAIRE",
    "MEMORY_MODELS",
    "YAN",
    "LemaireOptions",
    "YanOptions",
    "activation_bits",
    "break_even_rate",
    "break_even_spikes",
    "lemaire_model",
    "precisions_for",
    "price_davidson",
    "price_lemaire",
    "price_yan",
    "spikes_per_synapse",
    "twin_model",
    "yan_model",
]

MEMORY_MODELS: dict[str, EnergyModel] = {model.id: model for model in (LEMAIRE, YAN, DAVIDSON)}

_PRECISIONS: dict[str, Callable[[PriceList], tuple[str, ...]]] = {
    LEMAIRE.id: lemaire.precisions,
    YAN.id: yan.precisions,
    DAVIDSON.id: davidson.precisions,
}


def precisions_for(model: str, prices: PriceList) -> tuple[str, ...]:
    """Return the precisions at which a memory model can price with a list; none if the list lacks its rows.

    >>> from neuroemo.profiling.prices import load_prices
    >>> [precisions_for(model, load_prices("cmos45")) for model in MEMORY_MODELS]
    [('int8', 'int32', 'fp16', 'fp32'), (), ()]
    >>> precisions_for("yan", load_prices("cmos22")), precisions_for("davidson", load_prices("davidson_furber"))
    (('int4', 'int8'), ('int8',))
    """
    return _PRECISIONS[model](prices)


def twin_model(model: EnergyModel, steps: int) -> EnergyModel:
    """Return the model as it compares an SNN of ``steps`` steps with its ANN.

    Only Yan et al. match the two: the activations of the ANN get ceil(log2(T + 1)) bits. The id stays, and the
    result can be matched again to other steps.

    >>> twin_model(LEMAIRE, 16) is LEMAIRE, twin_model(YAN, 16).id
    (True, 'yan')
    """
    return yan.for_steps(model, steps)
