"""Words from outside, made fit to be stored; numbers from outside, checked."""

from __future__ import annotations

import operator
from collections.abc import Callable

from lightning_lde.capture import redact_text
from lightning_lde.errors import ConfigurationError
from lightning_lde.schema import storable_text

LONGEST_INTERVAL_S = 3600.0
LARGEST_STEP = 1 << 53


def check_interval(name: str, seconds: object) -> None:
    """Refuse an interval that is no positive number of seconds up to an hour.

    Args:
        name: What it is called.
        seconds: The interval.

    Raises:
        ConfigurationError: If it is anything else.
    """
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not number or not 0 < seconds <= LONGEST_INTERVAL_S:  # type: ignore[operator]
        raise ConfigurationError(
            f"{name} is {seconds!r}: give seconds, more than 0 and at most {LONGEST_INTERVAL_S:.0f}"
        )


def safe_words(value: object) -> str | None:
    """Text of anything, without secrets."""
    return None if value is None else redact_text(storable_text(str(value)))


def words_of(error: BaseException) -> str:
    """An error's class and message without secrets; the class alone where it has no words."""
    try:
        return redact_text(f"{type(error).__name__}: {error}")
    except Exception:
        return type(error).__name__


def whole_number(step: object, refuse: Callable[[str], None]) -> int | None:
    """A step or an epoch, of whatever type of whole number; None where it is none, or larger than can be stored.

    Args:
        step: The number.
        refuse: Called with a sentence where it is left out.
    """
    try:
        number = operator.index(step)  # type: ignore[arg-type]
    except TypeError:
        refuse(f"steps and epochs are whole numbers, no {type(step).__name__}: it was left out")
        return None
    if abs(number) > LARGEST_STEP:
        refuse(f"a step of {number.bit_length()} bits is too large: it was left out")
        return None
    return number
