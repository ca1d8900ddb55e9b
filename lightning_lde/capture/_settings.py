"""The settings of a pipeline: hyper-parameters, optimizers, schedulers, trainer flags."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from lightning_lde.capture._access import call, class_path, get, has_base, own
from lightning_lde.capture._pipeline import describe_pipeline
from lightning_lde.capture._redaction import redact
from lightning_lde.capture._values import hide_paths, json_safe
from lightning_lde.schema import Pipeline, PipelineConfig, content_id, utc_now

_SEED_NAMES = {"seed", "seeds", "seed_everything", "random_seed", "random_state", "global_seed", "manual_seed"}
_FLAGS = (
    *("precision", "num_nodes", "max_epochs", "max_steps", "accumulate_grad_batches"),
    *("gradient_clip_val", "gradient_clip_algorithm", "limit_train_batches", "limit_val_batches"),
    *("limit_test_batches", "limit_predict_batches", "log_every_n_steps", "check_val_every_n_epoch"),
    "val_check_interval",
)
_PROGRESS = {"last_epoch", "best", "num_bad_epochs", "cooldown_counter", "mode_worse", "optimizer", "T_cur"}


def describe_pipeline_config(module: object, trainer: object, *, pipeline: Pipeline | None = None) -> PipelineConfig:
    """Describe with which settings a module is trained.

    Runs that differ only in the seed, in absolute paths or in how they are watched (loggers, progress bar,
    model summary) share one configuration: seeds belong to the run and are left out, paths are cut to their
    last part, watchers are stored but do not count. Of each optimizer the initial learning rate is stored,
    so a resumed run has the configuration of its first part.

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
            return _without_seeds(_safe(saved)), "save_hyperparameters"
    plain = own(module, "hparams")
    if isinstance(plain, Mapping) and plain:
        return _without_seeds(_safe(plain)), "save_hyperparameters"
    found = _from_attributes(module)
    return _without_seeds(_safe(found)), "attributes" if found else None


def _from_attributes(module: object) -> dict[str, Any]:
    try:
        names = list(inspect.signature(type(module).__init__).parameters)[1:]
    except Exception:
        return {}
    values = {name: own(module, name) for name in names if name in (get(module, "__dict__") or {})}
    return {
        name: value for name, value in values.items() if value is None or isinstance(value, (bool, int, float, str))
    }


def _without_seeds(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_seeds(item)
            for key, item in value.items()
            if key.lower() not in _SEED_NAMES and key != "_instantiator"
        }
    return [_without_seeds(item) for item in value] if isinstance(value, list) else value


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
        "monitor": get(config, "monitor"),
        "settings": _scheduler_settings(scheduler),
    }


def _scheduler_settings(scheduler: object) -> dict[str, Any]:
    values = get(scheduler, "__dict__") or {}
    settings = {
        name: value for name, value in values.items() if name not in _PROGRESS and not str(name).startswith("_")
    }
    if inner := _listed(own(scheduler, "_schedulers")):
        settings["milestones"] = own(scheduler, "_milestones")
        settings["schedulers"] = [
            {"class": class_path(type(each)), "settings": _scheduler_settings(each)} for each in inner
        ]
    return settings


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
        "callbacks": [type(each).__name__ for each in _strangers(get(trainer, "callbacks"))],
        "loggers": [type(each).__name__ for each in _strangers(get(trainer, "loggers"))],
    }


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
    counted = {name: value for name, value in flags.items() if name != "loggers"}
    return {**counted, "callbacks": [name for name in flags.get("callbacks", []) if name not in shown]}


def _only_shows(callback: object) -> bool:
    return has_base(callback, "ProgressBar", "ModelSummary", "DeviceStatsMonitor", "LearningRateMonitor")
