"""Numbers as people read them: three or four digits, a unit, a spread."""

from typing import Literal, NamedTuple

Kind = Literal["text", "percent", "count", "bytes", "ms", "mj", "number"]

MISSING = "\N{EN DASH}"
_THOUSANDS = ("", "k", "M", "G", "T")


class Spread(NamedTuple):
    """A mean over several runs, and the standard deviation between them."""

    mean: float
    deviation: float


Value = str | float | bool | Spread | None


def format_value(value: Value, kind: Kind) -> str:
    """Return a value as text, with its unit.

    Args:
        value: What is shown; None where there is nothing to show.
        kind: What it measures: ``percent`` takes a share of 1, ``count`` and ``bytes`` get a
            prefix of thousands, ``ms`` turns to seconds where it is long.
    """
    match value:
        case None:
            return MISSING
        case str():
            return value
        case bool():
            return "yes" if value else "no"
        case Spread() if kind == "percent":
            return f"{100 * value.mean:.2f} ± {100 * value.deviation:.2f} %"
        case Spread():
            return f"{format_value(value.mean, kind)} ± {format_value(value.deviation, kind)}"
        case _:
            return _number(float(value), kind)


def _number(value: float, kind: Kind) -> str:
    match kind:
        case "percent":
            return f"{100 * value:.2f} %"
        case "count":
            return _with_prefix(value, "")
        case "bytes":
            return _with_prefix(value, "B")
        case "ms" if abs(value) >= 10_000:
            return f"{_digits(value / 1000)} s"
        case "ms":
            return f"{_digits(value)} ms"
        case "mj":
            return f"{_digits(value)} mJ"
        case _:
            return _digits(value)


def _with_prefix(value: float, unit: str) -> str:
    power = 0
    while abs(value) >= 999.5 and power < len(_THOUSANDS) - 1:
        value, power = value / 1000, power + 1
    suffix = _THOUSANDS[power] + unit
    return f"{_digits(value)} {suffix}" if suffix else _digits(value)


def _digits(value: float) -> str:
    """Return three significant digits, more where the whole part needs them, never an exponent."""
    if abs(value) == float("inf"):
        return "∞" if value > 0 else "\N{MINUS SIGN}∞"
    size = abs(value)
    decimals = 0 if size >= 99.95 else 1 if size >= 9.995 else 2 if size >= 0.095 else 4
    text = f"{value:,.{decimals}f}"
    if "." in text and (decimals == 4 or value == int(value)):
        text = text.rstrip("0").rstrip(".")
    return text.replace("-", "\N{MINUS SIGN}")
