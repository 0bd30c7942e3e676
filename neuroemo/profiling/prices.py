"""What one operation costs and where each number comes from: ``hw_targets/<target>/prices.toml``."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hw_targets
from hw_targets.finding import Finding, InputError
from neuroemo.profiling.mixing import check_comparison, check_mix
from neuroemo.profiling.price_file import GRADES, Measurement, Price, read_price_file
from neuroemo.profiling.price_list import PriceList

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "GRADES",
    "Measurement",
    "Price",
    "PriceList",
    "check_comparison",
    "check_mix",
    "load_prices",
    "parse_prices",
    "price_points",
    "price_targets",
]

_MAX_FILE_BYTES = 1_000_000
_SCALED = re.compile(r"\d+(HP|LP)?-\d+(\.\d+)?V")


def price_targets() -> tuple[str, ...]:
    """Return the targets that come with a price list, by name."""
    return tuple(sorted(path.parent.name for path in _root().glob("*/prices.toml")))


def price_points() -> tuple[str, ...]:
    """Return the names of all figures that hold at one operating point, as ``load_prices`` takes them."""
    lists = (load_prices(target) for target in price_targets())
    return tuple(f"{prices.target}@{point}" for prices in lists for point in prices.points)


def load_prices(target: str | Path = "cmos45") -> PriceList:
    """Load a price list by name, or a list of the user's own from a path (a text that ends in .toml is one).

    A name is a target, a target at one of its points ("odin@maximum_rate"), or a target whose logic is
    scaled to another node and voltage ("cmos45@14HP-0.80V", see ``scaling.scaled``).

    >>> prices = load_prices("cmos45")
    >>> prices.accumulate("fp32").value, prices.multiply_accumulate("fp32").value
    (0.9, 4.6)

    Raises:
        InputError: no such target, point or file, or rows without source or grade: all of them at once.
    """
    if isinstance(target, Path) or target.endswith(".toml"):
        prices = parse_prices(_read(Path(target)), str(target))
        if prices.target in price_targets() and not _is_own(Path(target)):
            fix = "give your list an id of its own"
            raise InputError(Finding("E823", "error", str(target), f"id {prices.target} is a built-in list", fix=fix))
        return prices
    name, _, variant = target.partition("@")
    if name not in price_targets():
        choices = f"one of {', '.join(price_targets())}"
        raise InputError(Finding("E811", "error", target, "no price list of that name", choices))
    path = _root() / name / "prices.toml"
    if _SCALED.fullmatch(variant):
        from neuroemo.profiling.scaling import scaled_by_name

        return scaled_by_name(parse_prices(_read(path), str(path)), variant)
    return parse_prices(_read(path), str(path), point=variant if "@" in target else None)


def parse_prices(data: Mapping[str, Any], where: str = "prices", *, point: str | None = None) -> PriceList:
    """Build a price list from its TOML data, at one of its points if it has several.

    Raises:
        InputError: every finding of ``read_price_file``, or no such point.
    """
    content = read_price_file(data, where)
    head, titles = content.head, {name: title for name, (title, _) in content.points.items()}
    if point is not None and point not in titles:
        choices = f"one of {', '.join(titles)}" if titles else "its name alone"
        raise InputError(Finding("E811", "error", f"{head['id']}@{point}", "no figures of that name", choices))
    chosen = point or head.get("default")
    rows = content.rows | (content.points[chosen][1] if chosen else {})
    return PriceList(
        target=head["id"] if point is None else f"{head['id']}@{point}",
        name=head["name"],
        scope=head["scope"],
        kind=head["kind"],
        grades=content.grades,
        rows=rows,
        process=head.get("process"),
        reason=head.get("reason"),
        points=titles,
        point=chosen,
        measurements=content.measurements,
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        size = path.stat().st_size
        if not path.is_file() or size > _MAX_FILE_BYTES:
            found = f"{size} bytes" if path.is_file() else "not a regular file"
            raise InputError(Finding("E812", "error", str(path), found, f"a file of at most {_MAX_FILE_BYTES} bytes"))
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, tomllib.TOMLDecodeError, RecursionError) as error:
        found = f"not a readable price list: {error}"
        raise InputError(Finding("E812", "error", str(path), found)) from error


def _is_own(path: Path) -> bool:
    return path.resolve().is_relative_to(_root().resolve())


def _root() -> Path:
    return Path(hw_targets.__path__[0])
