"""Recording without a line of code: what Lightning's Trainer asks for callbacks when it is made.

The entry points of this package name `callbacks`. Every Trainer of an environment calls it, so it imports nothing
unless there is something to record.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

from lightning_lde.errors import RecordingWarning, tell

if TYPE_CHECKING:
    from lightning_lde.automatic._callback import AutomaticCallback

__all__ = ["callbacks"]

URL_VARIABLE = "LDE_URI"
_SETTINGS = {"project": "LDE_PROJECT", "experiment": "LDE_EXPERIMENT", "name": "LDE_NAME"}


def callbacks() -> list[AutomaticCallback]:
    """Callbacks for a Trainer that is being made.

    ``LDE_URI`` names the lake; ``LDE_PROJECT``, ``LDE_EXPERIMENT`` and ``LDE_NAME`` are the callback's arguments.
    A variable that is empty counts as not set.

    Returns:
        One callback, none where ``LDE_URI`` is not set. What is wrong with it is told by a warning, once.
    """
    url = os.environ.get(URL_VARIABLE)
    if not url:
        return []
    try:
        from lightning_lde.automatic._callback import AutomaticCallback

        found = {setting: os.environ.get(variable) for setting, variable in _SETTINGS.items()}
        return [AutomaticCallback(url, **{setting: word for setting, word in found.items() if word})]  # type: ignore[arg-type]
    except Exception as error:
        _tell_once(f"{URL_VARIABLE} is set, but nothing is recorded: {type(error).__name__}: {error}")
        return []


@functools.cache
def _tell_once(message: str) -> None:
    tell(message, RecordingWarning)
