"""A recommended configuration as a file that LightningCLI reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightning_lde.errors import DataError

if TYPE_CHECKING:
    from lightning_lde.query._lake import Lake

_TRAINER, _DATA = "trainer.", "datamodule"
_BATCH_SIZE = "data.batch_size"
_NOT_OF_THE_MODEL = ("module", "method", "inner_steps", "optimizer.class")
"""Settings that are no arguments of the model: its class, how it was evaluated, what it makes of its arguments."""


def lightning_config(
    settings: Mapping[str, Any],
    *,
    lake: Lake | None = None,
    runs: Sequence[str] = (),
    with_class: bool = False,
) -> dict[str, Any]:
    """Settings in the sections of LightningCLI: model, data and trainer.

    Args:
        settings: The settings of a configuration, by dotted keys.
        lake: The lake of the runs.
        runs: Runs of this configuration: hyper-parameters that do not differ between configurations come from the
            first. What a data set fixes, such as its number of classes, is this run's: look at it.
        with_class: Whether the model is named with its class (``class_path`` and ``init_args``), as a LightningCLI
            needs it that was made without a fixed model.

    Raises:
        DataError: If the class of the model is asked for and not known.
    """
    hparams, module = _recorded(lake, runs[0]) if lake is not None and runs else ({}, None)
    module = settings.get("module", module)
    data = hparams.pop(_DATA, {})
    model = {name: value for name, value in hparams.items() if not _is_object(value)}
    trainer: dict[str, Any] = {}
    for key, value in settings.items():
        if key.startswith(_TRAINER):
            trainer[key.removeprefix(_TRAINER)] = value
        elif key.startswith(_DATA + "."):
            _put(data, key.removeprefix(_DATA + "."), value)
        elif key == _BATCH_SIZE:
            data["batch_size"] = value
        elif key not in _NOT_OF_THE_MODEL:
            _put(model, key, _structured(value))
    if with_class:
        if module is None:
            raise DataError("the class of the model is not known; leave it out, or ask a lake that recorded it")
        model = {"class_path": module, "init_args": model}
    return {name: part for name, part in (("trainer", trainer), ("model", model), ("data", data)) if part}


def config_text(config: Mapping[str, Any], notes: Sequence[str] = ()) -> str:
    """The sections as YAML, with notes as comments above."""
    import yaml

    comments = "".join(f"# {' '.join(note.split())}\n" for note in notes)
    return comments + str(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))


def _recorded(lake: Lake, run: str) -> tuple[dict[str, Any], str | None]:
    rows = lake.sql(
        """select hparams, module_class from runs join pipeline_configs using (pipeline_config_id)
           left join pipelines using (pipeline_id) where run_id = ?""",
        [run],
        of_runs=[run],
    ).to_pylist()
    if not rows:
        return {}, None
    return json.loads(rows[0]["hparams"] or "{}"), rows[0]["module_class"]


def _is_object(value: Any) -> bool:
    # An object that the module was given is described, not stored: no file can make it again.
    return isinstance(value, dict) and "class" in value


def _structured(value: Any) -> Any:
    """A list or mapping that stands in the lake as JSON text, as itself."""
    if isinstance(value, str) and value[:1] in {"[", "{"}:
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _put(place: dict[str, Any], key: str, value: Any) -> None:
    """Set a value under a dotted key; a part of an object that no file can make is left out."""
    first, _, rest = key.partition(".")
    if not rest:
        place[first] = value
    elif isinstance(place.setdefault(first, {}), dict):
        _put(place[first], rest, value)
