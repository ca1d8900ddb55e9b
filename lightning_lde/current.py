"""The run that is open in this process, for code that has no hand on its recorder.

Imports nothing of weight: `log` may stand in modules that are used without any run, too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_lde.recording._recorder import Recorder

_open: list[Recorder] = []


def log(values: Mapping[str, Any], *, step: int | None = None) -> None:
    """Record the values of metrics in the run that is open, as cheaply as can be; do nothing where none is.

    This is the direct path beside Lightning's ``self.log``: it may stand in any module, loop or function.
    Step, epoch and context are those of the training at that moment. Tensors are not waited for; those of an
    accelerator are copied there and fetched together, in the background. Lightning's progress bar, early
    stopping and checkpoints do not see these values, they keep ``self.log``. With several runs open at once
    the one that was opened last gets them; on ranks other than zero, in forked workers of a data loader and
    during the sanity check there is none.

    Args:
        values: Number, or tensor of one element, by name.
        step: Another step than the training's.

    Raises:
        TypeError: If ``values`` is no mapping.

    Example:
        >>> import tempfile
        >>> from lightning_lde import Lake, Recorder, log
        >>> log({"loss": 1.0})  # no run is open
        >>> folder = tempfile.mkdtemp()
        >>> with Recorder(folder, project="demo", system_metrics_every_s=None):
        ...     log({"loss": 0.5}, step=1)
        >>> Lake(folder).sql("select name, step, value from metrics").to_pylist()
        [{'name': 'loss', 'step': 1, 'value': 0.5}]
    """
    if type(values) is not dict and not isinstance(values, Mapping):
        raise TypeError(f"log takes a dict, such as log({{'loss': 1.0}}), not a {type(values).__name__}")
    # The run may be closed by another thread meanwhile.
    for recorder in _open[-1:]:
        recorder.log_now(values, step)


def opened(recorder: Recorder) -> None:
    """From now on `log` goes to this run."""
    closed(recorder)
    _open.append(recorder)


def closed(recorder: Recorder) -> None:
    """The run takes no more values."""
    _open[:] = [other for other in _open if other is not recorder]


def still_open() -> list[Recorder]:
    """The runs that are open, the one that was opened last first."""
    return _open[::-1]


# A forked child has copies of the recorders, but not their threads; whatever it logged would go nowhere.
os.register_at_fork(after_in_child=_open.clear)
