"""The settings of a pipeline: hyper-parameters, optimizers, schedulers, trainer flags."""

from __future__ import annotations

import dataclasses
import enum
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from types import SimpleNamespace
from typing import Any

from lightning_lde.capture._access import call, callable_path, class_path, get, has_base, own
from lightning_lde.capture._callables import describe_callable, is_callable, parameter_names
from lightning_lde.capture._pipeline import describe_pipeline
from lightning_lde.capture._redaction import redact
from lightning_lde.capture._source import is_library, source_hash
from lightning_lde.capture._values import hide_paths, json_safe, without_seeds
from lightning_lde.schema import Pipeline, PipelineConfig, content_id, utc_now

_FLAGS = (
    *("precision", "num_nodes", "min_epochs", "max_epochs", "min_steps", "max_steps", "accumulate_grad_batches"),
    *("gradient_clip_val", "gradient_clip_algorithm", "limit_train_batches", "limit_val_batches"),
    *("limit_test_batches", "limit_predict_batches", "log_every_n_steps", "check_val_every_n_epoch"),
    *("val_check_interval", "overfit_batches", "num_sanity_val_steps", "reload_dataloaders_every_n_epochs"),
)
_OF_LIGHTNING = {"training", "prepare_data_per_node", "allow_zero_length_dataloader_with_multiple_devices", "trainer"}
_MAX_DEPTH = 8
_NOT_OF_CALLBACKS = {"verbose", "dirpath", "log_rank_zero_only", "refresh_rate"}
_PROGRESS = {"last_epoch", "best", "num_bad_epochs", "cooldown_counter", "mode_worse", "optimizer", "T_cur"}


def describe_pipeline_config(module: object, trainer: object, *, pipeline: Pipeline | None = None) -> PipelineConfig:
    """Describe with which settings a module is trained.

    Runs that differ only in the seed, in absolute paths or in how they are watched (loggers, progress bar,
    model summary) share one configuration: seeds belong to the run and are left out, paths are cut to their
    last part, watchers are stored but do not count. Of each optimizer the initial learning rate is stored,
    so a resumed run has the configuration of its first part. The kind of accelerator is the machine's and does not
    count either. Where a module did not call ``save_hyperparameters``, its settings are the constructor's arguments
    and other public attributes that it keeps (``hparams_source`` is ``attributes`` then).

    Args:
        module: The ``LightningModule``.
        trainer: The ``Trainer`` it is attached to; optimizers and schedulers are there from ``on_fit_start``.
        pipeline: What ``describe_pipeline`` said of the module, where that is known already.

    Returns:
        The row; hyper-parameters of a datamodule stand under ``datamodule``; the id covers ``pipeline_id``,
        hyper-parameters, optimizers, schedulers and trainer flags.
    """
    module = get(module, "_orig_mod", module)
    hparams, source = _hparams(module)
    of_data, _ = _hparams(get(trainer, "datamodule"))
    if of_data:
        hparams = {**hparams, "datamodule": of_data}
    facts: dict[str, Any] = {
        "pipeline_id": (pipeline or describe_pipeline(module)).pipeline_id,
        "hparams": hparams,
        "hparams_source": source,
        "optimizers": _safe([_optimizer(each) for each in _listed(get(trainer, "optimizers"))]),
        "schedulers": _safe([_scheduler(each) for each in _listed(get(trainer, "lr_scheduler_configs"))]),
        "trainer": _safe(_flags(trainer)),
    }
    config_id = content_id("pipeline_configs", {**facts, "trainer": _what_counts(facts["trainer"], trainer)})
    return PipelineConfig(pipeline_config_id=config_id, recorded_at=utc_now(), **facts)


def constructor_hparams(module: object, datamodule: object = None) -> dict[str, Any]:
    """The hyper-parameters that a module and a datamodule were made with.

    Where they were not saved, only attributes that the constructor names: others may change while a model trains.

    Args:
        module: The ``LightningModule``.
        datamodule: The ``LightningDataModule``, None where there is none.
    """
    module = get(module, "_orig_mod", module)
    found, of_data = _told(module), _told(datamodule)
    return {**found, "datamodule": of_data} if of_data else found


def _told(thing: object) -> dict[str, Any]:
    hparams, source = _hparams(thing)
    if source != "attributes":
        return hparams
    names = set(parameter_names(type(thing)))
    return {name: value for name, value in hparams.items() if name in names}


def _safe(value: object) -> Any:
    return hide_paths(redact(json_safe(value)))


def _listed(value: object) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _hparams(module: object) -> tuple[dict[str, Any], str | None]:
    # The properties of Lightning copy deeply or leave an attribute behind; the fields below them do not.
    if module is None:
        return {}, None
    for name in ("_hparams_initial", "_hparams"):
        saved = get(module, name)
        if isinstance(saved, Mapping) and saved:
            return without_seeds(_safe(saved)), "save_hyperparameters"
    plain = own(module, "hparams")
    if isinstance(plain, Mapping) and plain:
        return without_seeds(_safe(plain)), "save_hyperparameters"
    found = _from_attributes(module)
    return without_seeds(_safe(found)), "attributes" if found else None


def _from_attributes(module: object) -> dict[str, Any]:
    """The arguments of the constructor that a module keeps, and its other public attributes that look like settings."""
    values = get(module, "__dict__")
    if not isinstance(values, Mapping):
        return {}
    named = parameter_names(type(module))
    found = {
        name: values.get(name, values.get(f"_{name}"))
        for name in named
        if (name in values or f"_{name}" in values) and name not in _OF_LIGHTNING
    }
    found = {name: value for name, value in found.items() if value is None or _is_setting(value)}
    for name, value in values.items():
        # Lists are what a module gathers while it trains as often as they are settings.
        if name in found or name.startswith("_") or name in _OF_LIGHTNING or isinstance(value, (list, tuple, set)):
            continue
        if value is not None and _is_setting(value) and value != {}:
            found[name] = value
    return found


def _is_setting(value: object, depth: int = 0) -> bool:
    """Whether a value is what configurations are made of: numbers, words, paths, and what holds such."""
    if value is None or isinstance(value, (bool, int, float, str, enum.Enum, PurePath)):
        return True
    if isinstance(value, type) or depth >= _MAX_DEPTH:
        return False
    if isinstance(value, (Mapping, Namespace, SimpleNamespace)) or dataclasses.is_dataclass(value):
        inside = value.values() if isinstance(value, Mapping) else (get(value, "__dict__") or {}).values()
        return all(_is_setting(item, depth + 1) for item in inside)
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(_is_setting(item, depth + 1) for item in value)
    return type(value).__name__ in {"dtype", "device", "timedelta"}


def _optimizer(optimizer: object) -> dict[str, Any]:
    return {
        "class": class_path(type(optimizer)),
        "param_groups": [
            _param_group(group) for group in _listed(get(optimizer, "param_groups")) if isinstance(group, Mapping)
        ],
    }


def _param_group(group: Mapping[str, Any]) -> dict[str, Any]:
    counts = [call(parameter, "numel") for parameter in _listed(group.get("params"))]
    settings = {name: value for name, value in group.items() if name not in {"params", "param_names", "initial_lr"}}
    if "initial_lr" in group:
        settings["lr"] = group["initial_lr"]
    return {**settings, "n_parameters": None if None in counts else sum(counts)}


def _scheduler(config: object) -> dict[str, Any]:
    scheduler = get(config, "scheduler")
    return {
        "class": class_path(type(scheduler)),
        "interval": get(config, "interval"),
        "frequency": get(config, "frequency"),
        "strict": get(config, "strict"),
        "monitor": get(config, "monitor"),
        "settings": _scheduler_settings(scheduler),
    }


def _scheduler_settings(scheduler: object) -> dict[str, Any]:
    values = get(scheduler, "__dict__") or {}
    settings = {
        name: _named(value) for name, value in values.items() if name not in _PROGRESS and not str(name).startswith("_")
    }
    if inner := _listed(own(scheduler, "_schedulers")):
        settings["milestones"] = own(scheduler, "_milestones")
        settings["schedulers"] = [
            {"class": class_path(type(each)), "settings": _scheduler_settings(each)} for each in inner
        ]
    return settings


def _named(value: Any) -> Any:
    """Functions without a name of their own by their source too: two lambdas are not one."""
    if isinstance(value, list):
        return [_named(item) for item in value]
    if not is_callable(value):
        return value
    path = callable_path(value)
    return describe_callable(value) if "<" in path or type(value).__name__ == "partial" else value


def _flags(trainer: object) -> dict[str, Any]:
    if trainer is None:
        return {}
    accelerator, strategy = get(trainer, "accelerator"), get(trainer, "strategy")
    return {
        **{name: get(trainer, name) for name in _FLAGS},
        "accelerator": None if accelerator is None else type(accelerator).__name__,
        "strategy": None if strategy is None else type(strategy).__name__,
        "devices": get(trainer, "num_devices"),
        "deterministic": _deterministic(),
        **_more_flags(trainer),
        "callbacks": [type(each).__name__ for each in _strangers(get(trainer, "callbacks"))],
        "loggers": [type(each).__name__ for each in _strangers(get(trainer, "loggers"))],
    }


def _more_flags(trainer: object) -> dict[str, Any]:
    """What is said only where it is not the default, or where there is something: plugins, strategy, callbacks."""
    connector, strategy = get(trainer, "_accelerator_connector"), get(trainer, "strategy")
    datamodule = get(trainer, "datamodule")
    settings = {name: value for name, value in _keywords_of(strategy).items() if value not in (None, False, {})}
    more = {
        "detect_anomaly": get(trainer, "_detect_anomaly") or None,
        "use_distributed_sampler": None if get(connector, "use_distributed_sampler", True) else False,
        "sync_batchnorm": True if get(connector, "_layer_sync") is not None else None,
        "strategy_settings": settings or None,
        "callback_settings": _callback_settings(trainer) or None,
        "datamodule": None if datamodule is None else _class_and_source(datamodule),
    }
    return {name: value for name, value in more.items() if value is not None}


def _class_and_source(thing: object) -> dict[str, Any]:
    cls = type(thing)
    return {"class": class_path(cls), **({} if is_library(cls) else {"source_hash": source_hash(cls)})}


def _keywords_of(strategy: object) -> dict[str, Any]:
    """What a strategy hands on to what it wraps models with, such as ``find_unused_parameters``."""
    keywords = own(strategy, "_ddp_kwargs") or own(strategy, "_fsdp_kwargs") or own(strategy, "kwargs")
    return dict(keywords) if isinstance(keywords, Mapping) else {}


def _callback_settings(trainer: object) -> list[dict[str, Any]]:
    """What the constructors of callbacks were given, as far as they keep it; places and how much they talk left out."""
    described = []
    for callback in _strangers(get(trainer, "callbacks")):
        if _only_shows(callback):
            continue
        values = get(callback, "__dict__") or {}
        kept = {name: values.get(name, values.get(f"_{name}")) for name in parameter_names(type(callback))}
        settings = {
            name: value
            for name, value in kept.items()
            if name not in _NOT_OF_CALLBACKS and value is not None and _is_setting(value)
        }
        described.append({**_class_and_source(callback), **({"settings": settings} if settings else {})})
    return described


def _deterministic() -> bool | str | None:
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    if torch.is_deterministic_algorithms_warn_only_enabled():
        return "warn"
    return bool(torch.are_deterministic_algorithms_enabled())


def _strangers(watchers: object) -> Iterable[object]:
    return [each for each in _listed(watchers) if not _is_ours(each)]


def _is_ours(watcher: object) -> bool:
    names = [(cls.__name__, str(cls.__module__)) for cls in type(watcher).__mro__]
    return any(name.startswith(("LDE", "_LDE")) or module.startswith("lightning_lde.") for name, module in names)


def _what_counts(flags: Mapping[str, Any], trainer: object) -> dict[str, Any]:
    # Which progress bar and which logger Lightning takes depends on the packages of the machine.
    shown = {type(each).__name__ for each in _listed(get(trainer, "callbacks")) if _only_shows(each)}
    counted = {name: value for name, value in flags.items() if name not in {"loggers", "accelerator"}}
    return {**counted, "callbacks": [name for name in flags.get("callbacks", []) if name not in shown]}


def _only_shows(callback: object) -> bool:
    return has_base(callback, "ProgressBar", "ModelSummary", "DeviceStatsMonitor", "LearningRateMonitor")
