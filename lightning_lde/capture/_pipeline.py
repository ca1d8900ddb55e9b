"""A model and its procedure: class, source, parameters, layers."""

from __future__ import annotations

import hashlib
import inspect
import weakref
from typing import Any

from lightning_lde.capture._access import call, class_path, get
from lightning_lde.capture._callables import parameter_names
from lightning_lde.capture._redaction import redact
from lightning_lde.capture._values import hide_paths, json_safe
from lightning_lde.schema import Pipeline, content_id, utc_now

_LIBRARIES = {
    *{"abc", "builtins", "typing", "typing_extensions", "torch", "torchmetrics", "torchvision"},
    *{"pytorch_lightning", "lightning", "lightning_fabric", "lightning_utilities"},
}
_MAX_SEQUENCE = 16


_source_hashes: weakref.WeakKeyDictionary[type, str | None] = weakref.WeakKeyDictionary()


def describe_pipeline(module: object) -> Pipeline:
    """Describe a module without its settings and its weights.

    Args:
        module: A ``LightningModule`` or any ``torch.nn.Module``, compiled or not.

    Returns:
        The row; its id covers class, source and layers. Counts are None where a lazy parameter has no
        shape yet. ``layers`` holds every module that has no children or owns parameters itself, with the settings
        of its constructor that it keeps, and how many of its parameters are trained where that is not all of them.

    Example:
        >>> import torch
        >>> row = describe_pipeline(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU()))
        >>> row.n_parameters, [layer["class"].split(".")[-1] for layer in row.layers]
        (9, ['Linear', 'ReLU'])
    """
    module = get(module, "_orig_mod", module)
    facts: dict[str, Any] = {
        "module_class": class_path(type(module)),
        "source_hash": _source_hash(type(module)),
        "layers": _attempt_layers(module),
    }
    parameters = _parameters(module)
    return Pipeline(
        pipeline_id=content_id("pipelines", facts),
        recorded_at=utc_now(),
        n_parameters=_count(parameters),
        n_trainable=_count([parameter for parameter in parameters or [] if get(parameter, "requires_grad")])
        if parameters is not None
        else None,
        **facts,
    )


def _parameters(module: object) -> list[Any] | None:
    try:
        return list(module.parameters())  # type: ignore[attr-defined]
    except Exception:
        return None


def _count(parameters: list[Any] | None) -> int | None:
    """The number of elements, None if one of the parameters has no shape yet."""
    counts = [call(parameter, "numel") for parameter in parameters or []]
    return None if parameters is None or None in counts else sum(counts)


def _attempt_layers(module: object) -> list[dict[str, Any]]:
    try:
        return _layers(module)
    except Exception:
        return []


def _layers(module: Any) -> list[dict[str, Any]]:
    layers = []
    for name, part in module.named_modules():
        parameters = list(part.parameters(recurse=False))
        if parameters or not any(True for _ in part.children()):
            layers.append({"name": name, "class": class_path(type(part)), **_layer(part, parameters)})
    return layers


def _layer(part: Any, parameters: list[Any]) -> dict[str, Any]:
    """Counts, what of a layer is frozen, and the settings that its constructor was given."""
    facts: dict[str, Any] = {"n_parameters": _count(parameters)}
    trainable = _count([parameter for parameter in parameters if get(parameter, "requires_grad")])
    if trainable != facts["n_parameters"]:
        facts["n_trainable"] = trainable
    # By the names of the constructor: what else lies in a module changes from one release of torch to the next.
    values = get(part, "__dict__") or {}
    settings = {name: values[name] for name in parameter_names(type(part)) if _is_simple(values.get(name))}
    if settings:
        facts["settings"] = redact(hide_paths(json_safe(settings)))
    return facts


def _is_simple(value: object) -> bool:
    items = value if isinstance(value, (list, tuple)) and len(value) <= _MAX_SEQUENCE else [value]
    return value is not None and all(isinstance(item, (bool, int, float, str)) for item in items)


def _source_hash(cls: type) -> str | None:
    """A hash over the source of a class and of its bases that are no library's, None without source."""
    if cls not in _source_hashes:
        # Python parses the whole file to find a class in it.
        _source_hashes[cls] = _read_source_hash(cls)
    return _source_hashes[cls]


def _read_source_hash(cls: type) -> str | None:
    digest = hashlib.sha256()
    for base in cls.__mro__:
        if str(base.__module__).partition(".")[0] in _LIBRARIES and base is not cls:
            continue
        try:
            digest.update(inspect.getsource(base).encode("utf-8", "backslashreplace"))
        except Exception:
            if base is cls:
                return None
    return digest.hexdigest()[:32]
