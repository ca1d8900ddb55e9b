"""Words for numbers in reports, and words from outside."""

from __future__ import annotations

import math


def number(value: float | None, digits: int = 3) -> str:
    """A number with fixed decimals, a dash where there is none.

    Example:
        >>> number(0.12345), number(None), number(float("nan")), number(float("-inf"))
        ('0.123', '–', '–', '−∞')
    """
    return _plain(value, f".{digits}f")


def signed(value: float | None, digits: int = 3) -> str:
    """A number with its sign.

    Example:
        >>> signed(0.5), signed(-0.5)
        ('+0.500', '−0.500')
    """
    return _plain(value, f"+.{digits}f")


def probability(value: float) -> str:
    """A p value; very small ones as a bound.

    Example:
        >>> probability(0.0321), probability(0.00002)
        ('0.032', '< 0.001')
    """
    if math.isnan(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def amount(value: float, metric: str) -> str:
    """A change of a metric, accuracy in points of a hundred.

    Example:
        >>> amount(0.0181, "accuracy"), amount(-0.0181, "loss")
        ('+1.8 points', '−0.018')
    """
    return f"{signed(100 * value, 1)} points" if metric == "accuracy" else signed(value)


def amount_with_interval(value: float, low: float, high: float, metric: str) -> str:
    """A change of a metric and its interval.

    Example:
        >>> amount_with_interval(0.018, -0.2, 0.236, "accuracy")
        '+1.8 points [−20.0, +23.6]'
    """
    factor, digits = (100, 1) if metric == "accuracy" else (1, 3)
    return f"{amount(value, metric)} [{signed(factor * low, digits)}, {signed(factor * high, digits)}]"


def listed(words: list[str]) -> str:
    """Words as people list them.

    Example:
        >>> listed(["a", "b", "c"]), listed(["a"])
        ('a, b and c', 'a')
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def printable(words: str) -> str:
    r"""Words from outside on one line of a terminal: a name could hold codes that it obeys.

    Example:
        >>> printable("a\x1b[31m\nb")
        'a [31m b'
    """
    return "".join(char if char.isprintable() else " " for char in words)


def _plain(value: float | None, form: str) -> str:
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "−∞" if value < 0 else "∞"
    return f"{value:{form}}".replace("-", "−")
