"""What can be known of data loaders: which data, which part of it, how it is transformed, sampled and batched."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from lightning_lde.capture import _arrays
from lightning_lde.capture._access import call, callable_path, class_path, get, has_base, is_a, length
from lightning_lde.capture._callables import describe_callable, is_callable, parameter_names, words_for
from lightning_lde.capture._data import dataset_and_samples, indices_hash, rows_used
from lightning_lde.capture._looks import Look, look_at
from lightning_lde.capture._pace import HurriedError, Pace
from lightning_lde.capture._redaction import redact, redact_text
from lightning_lde.capture._samples import Samples
from lightning_lde.capture._source import is_library, source_hash
from lightning_lde.capture._values import hide_paths, is_absolute_path, json_safe, without_seeds
from lightning_lde.schema import Dataset, DatasetConfig, content_id, utc_now

_MAX_DEPTH = 16
_MAX_LISTED = 1000
_TRANSFORM_NAMES = ("transform", "transforms", "target_transform")
_LOADING = ("pin_memory", "pin_memory_device", "prefetch_factor", "persistent_workers", "timeout", "in_order")
_NOT_OF_SAMPLER = {
    *{"data_source", "dataset", "sampler", "generator", "indices", "weights", "seed", "epoch", "rank"},
    *{"total_size", "batch_size", "drop_last", "shuffle", "replacement"},
}


def loaders_of(loader: object) -> list[tuple[str, object]]:
    """The single loaders in what Lightning accepts as one, each with a name.

    Args:
        loader: A loader, a list or dict of such, nested at will, or Lightning's ``CombinedLoader``.

    Returns:
        Names and loaders in Lightning's order: keys of dicts, positions in lists, joined by dots; ``"0"`` for
        a loader alone. None is left out.

    Example:
        >>> [name for name, _ in loaders_of({"a": iter(()), "b": [iter(()), iter(())]})]
        ['a', 'b.0', 'b.1']
    """
    return [(".".join(path) or "0", leaf) for path, leaf in _flat(loader, ())]


def _flat(loader: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], object]]:
    if has_base(loader, "CombinedLoader"):
        loader = get(loader, "_iterables", get(loader, "iterables"))
    children: list[tuple[str, object]]
    if is_a(loader, Mapping):
        children = [(str(key), item) for key, item in loader.items()]
    elif is_a(loader, list, tuple):
        children = [(str(position), item) for position, item in enumerate(loader)]
    else:
        return [] if loader is None else [(path, loader)]
    if len(path) >= _MAX_DEPTH:
        return []
    return [leaf for name, child in children for leaf in _flat(child, (*path, name))]


@dataclass(frozen=True)
class LoaderLook:
    """A loader as it was before it was iterated; taking it costs microseconds, describing it may read files.

    Attributes:
        dataset: The look at its data set.
        facts: Batch size, workers and the like.
        settings: What has no column of its own.
        collate: Its collate function.
        worker_init: What its workers call first.
        sampler: The look at what draws its samples, or its batches.
        seeds: Seeds and states of generators that it draws with; they belong to the run.
    """

    dataset: Look
    facts: Mapping[str, Any]
    settings: Mapping[str, Any]
    collate: object
    worker_init: object
    sampler: Look
    seeds: Mapping[str, Any]


def look_at_loader(loader: object) -> LoaderLook:
    """Take a look at a loader, its data set and its sampler; no generator moves, nothing is iterated.

    Args:
        loader: A ``DataLoader``; of any other object its own length and class are looked at.
    """
    used = get(loader, "dataset")
    sampler = _sampler_of(loader)
    sampler_look = Look(sampler, dict(get(sampler, "__dict__") or {}))
    return LoaderLook(
        dataset=look_at(loader if used is None else used),
        facts=_batching(loader, sampler),
        settings=_loading(loader),
        collate=get(loader, "collate_fn"),
        worker_init=get(loader, "worker_init_fn"),
        sampler=sampler_look,
        seeds=_seeds(loader, sampler_look),
    )


def describe_loader(loader: object, *, fingerprint: str = "cheap") -> tuple[Dataset, DatasetConfig]:
    """Describe the data set behind a loader and the use that the loader makes of it.

    An object whose method ``lde_config()`` returns ``split``, ``settings``, ``sampler`` or ``transforms`` is
    believed. The loader is not iterated.

    Args:
        loader: A ``DataLoader``; of any other object its own length and class are described.
        fingerprint: ``"cheap"`` reads a sample of what is large, ``"exact"`` reads all of it.

    Returns:
        The rows of ``datasets`` and ``dataset_configs``; the id of the second covers ``dataset_id`` and all its
        fields but ``recorded_at``, and ``settings`` without its key ``loading``.
    """
    return describe_look(look_at_loader(loader), Pace(fingerprint=fingerprint))


def describe_look(look: LoaderLook, pace: Pace) -> tuple[Dataset, DatasetConfig]:
    """Describe a loader that was looked at before, on any thread.

    Args:
        look: The look at it.
        pace: How to go on; hurried, only structure is described.

    Returns:
        As `describe_loader`.
    """
    return describe_with_samples(look, pace)[:2]


def describe_with_samples(look: LoaderLook, pace: Pace) -> tuple[Dataset, DatasetConfig, Samples | None]:
    """Describe a loader that was looked at before, on any thread, and the samples of its data set.

    Args:
        look: The look at it.
        pace: How to go on; hurried, only structure is described.

    Returns:
        As `describe_loader`, and the samples where the pace asks for them and they can be told apart.
    """
    dataset, samples = dataset_and_samples(look.dataset, pace)
    believed = _believed(look.dataset)
    transforms = _transforms(look.dataset)
    settings = {
        **_extras(look, transforms),
        **look.settings,
        **believed.pop("settings", {}),
    }
    facts = {
        "dataset_id": dataset.dataset_id,
        **_part(look, pace),
        **look.facts,
        "transforms": _text(transforms),
        **believed,
        "settings": settings,
    }
    counted = {**facts, "settings": {name: value for name, value in settings.items() if name != "loading"}}
    config_id = content_id("dataset_configs", counted)
    return dataset, DatasetConfig(dataset_config_id=config_id, recorded_at=utc_now(), **facts), samples


def _part(look: LoaderLook, pace: Pace) -> dict[str, Any]:
    try:
        rows = rows_used(look.dataset, pace)
        # A sampler with fixed indices draws a part of the data just as a Subset does.
        drawn = _arrays.indices_array(look.sampler.own.get("indices"), pace)
    except HurriedError:
        rows = drawn = None
    except Exception:
        drawn = None
    if drawn is not None:
        rows = drawn if rows is None else _compose(rows, drawn)
    return {
        "split": _split(look.dataset.chain[-1]),
        "n_samples": look.dataset.n if rows is None else len(rows),
        "indices_hash": None if rows is None else indices_hash(rows),
    }


def _compose(rows: Any, drawn: Any) -> Any:
    try:
        return rows[drawn]
    except IndexError:
        return rows


def _split(root: Look) -> str | None:
    # torchvision says train=True, Hugging Face split="train".
    split, train = get(root.thing, "split"), root.own.get("train")
    if isinstance(train, bool):
        return "train" if train else "test"
    text = call(split, "__str__") if isinstance(split, str) or type(split).__name__ == "NamedSplit" else None
    return redact_text(text) if isinstance(text, str) and text else None


def _transforms(look: Look) -> dict[str, Any]:
    """The tree of what is done to a sample: callables of the data set, of what it wraps, of its parts."""
    found: dict[str, Any] = {}
    for link in look.chain:
        for name, tree in _transforms_of(link).items():
            found.setdefault(name, tree)
    parts = [_transforms(part) for _, part in look.chain[-1].parts]
    if any(parts):
        found["parts"] = parts[:1] if all(part == parts[0] for part in parts) else parts
    return found


def _transforms_of(link: Look) -> dict[str, Any]:
    form = link.own.get("_format_kwargs")
    inside = form.get("transform") if isinstance(form, dict) else None
    candidates = {**link.own, **({"transform": inside} if inside is not None else {})}
    found: dict[str, Any] = {}
    for name, value in sorted(candidates.items()):
        if name.startswith("_") or (name == "transforms" and type(value).__name__ == "StandardTransform"):
            continue
        named = value is not None and name in _TRANSFORM_NAMES
        listed = is_a(value, list, tuple) and 0 < len(value) <= _MAX_LISTED and all(map(is_callable, value))
        try:
            if listed:
                found[name] = [describe_callable(each) for each in value]
            elif (is_callable(value) or named) and not has_base(value, "Dataset", "IterableDataset"):
                found[name] = describe_callable(value)
        except Exception:
            found[name] = f"<{class_path(type(value))}>"
    return found


def _text(transforms: Mapping[str, Any]) -> str | None:
    """One line: the transform alone where there is nothing else."""
    if not transforms:
        return None
    if list(transforms) == ["transform"]:
        return words_for(transforms["transform"])
    return "; ".join(f"{name}={words_for(tree)}" for name, tree in transforms.items())


def _extras(look: LoaderLook, transforms: Mapping[str, Any]) -> dict[str, Any]:
    """What the columns do not hold; a key only where there is something to say."""
    extras: dict[str, Any] = {"transforms": dict(transforms), "sampler": _sampler_settings(look.sampler)}
    for name, function in (("collate", look.collate), ("worker_init", look.worker_init)):
        if is_callable(function):
            described = describe_callable(function)
            plain = list(described) == ["function"] or _is_of_library(described.get("partial"))
            extras[name] = None if plain else described
    extras["dataset"] = [said for link in look.dataset.chain if (said := _own_words(link))]
    return {name: value for name, value in extras.items() if value}


def _is_of_library(partial: object) -> bool:
    return isinstance(partial, Mapping) and list(partial) == ["function"]


def _own_words(link: Look) -> dict[str, Any]:
    """Class, source and simple settings of a data set of the user's own."""
    cls = type(link.thing)
    if is_a(link.thing, type) or is_library(cls) or callable(get(link.thing, "lde_facts")):
        return {}
    names = set(parameter_names(cls))
    simple = {
        name.lstrip("_"): "<path>" if is_absolute_path(str(value)) else value
        for name, value in link.own.items()
        if (not name.startswith("_") or name.lstrip("_") in names)
        and (value is None or isinstance(value, (bool, int, float, str, PurePath)))
        and value is not None
    }
    settings = redact(json_safe(without_seeds(simple)))
    return {"class": class_path(cls), "source_hash": source_hash(cls), **({"settings": settings} if settings else {})}


def _sampler_settings(look: Look) -> dict[str, Any]:
    """Settings of a sampler, also of the one below a batch sampler; not the data, the rank or the epoch."""
    if look.thing is None or is_a(look.thing, type):
        return {}
    settings: dict[str, Any] = {}
    for name, value in look.own.items():
        if name in _NOT_OF_SAMPLER or is_callable(value) or length(value) is not None:
            continue
        if value is not None and isinstance(value, (bool, int, float, str)) and value is not False:
            settings[name.lstrip("_")] = value
    weights = look.own.get("weights")
    if _arrays.is_array(weights):
        settings["weights"] = hashlib.sha256(_arrays.raw_bytes(weights)).hexdigest()[:32]
    inner = look.own.get("sampler")
    if inner is not None and has_base(look.thing, "BatchSampler"):
        below = _sampler_settings(Look(inner, dict(get(inner, "__dict__") or {})))
        settings["sampler"] = {"class": class_path(type(inner)), **below}
    cls = type(look.thing)
    own = {} if is_library(cls) else {"class": class_path(cls), "source_hash": source_hash(cls)}
    safe: dict[str, Any] = redact(hide_paths(json_safe(without_seeds({**own, **settings}))))
    return safe


def _loading(loader: object) -> dict[str, Any]:
    """How samples are brought, which changes their speed and not what they are; defaults are left out."""
    values = {name: get(loader, name) for name in _LOADING}
    context = get(loader, "multiprocessing_context")
    values["multiprocessing_context"] = call(context, "get_start_method") if context is not None else None
    kept = {name: value for name, value in values.items() if isinstance(value, (bool, int, float, str)) and value}
    defaults = {"in_order": True, "prefetch_factor": 2}
    kept = {name: value for name, value in kept.items() if defaults.get(name) != value}
    if get(loader, "in_order") is False:
        kept["in_order"] = False
    return {"loading": kept} if kept else {}


def _batching(loader: object, sampler: object) -> dict[str, Any]:
    collate = get(loader, "collate_fn")
    return {
        "sampler": _sampler_words(sampler),
        # A loader with a batch sampler of its own says None.
        "batch_size": _whole(get(loader, "batch_size") or get(_batch_sampler(loader), "batch_size")),
        "drop_last": _flag(get(loader, "drop_last")),
        "num_workers": _whole(get(loader, "num_workers")),
        "collate_fn": callable_path(collate) if callable(collate) else None,
    }


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _sampler_of(loader: object) -> object:
    batches = _batch_sampler(loader)
    custom = batches is not None and get(loader, "batch_size") is None
    return batches if custom else get(loader, "sampler")


def _batch_sampler(loader: object) -> object:
    batches = get(loader, "batch_sampler")
    # What Lightning puts around it to predict.
    return get(batches, "_batch_sampler", batches) if has_base(batches, "_IndexBatchSamplerWrapper") else batches


def _sampler_words(sampler: object) -> str | None:
    if sampler is None:
        return None
    flags = [f"{name}={get(sampler, name)}" for name in ("shuffle",) if _flag(get(sampler, name)) is not None]
    if get(sampler, "replacement") is True:
        flags.append("replacement=True")
    return type(sampler).__name__ + (f"({', '.join(flags)})" if flags else "")


def _seeds(loader: object, sampler: Look) -> dict[str, Any]:
    """Seeds and generators of a loader and its sampler: which seed each began with, and where it stands."""
    found: dict[str, Any] = {}
    for name, generator in (("generator", get(loader, "generator")), ("sampler", sampler.own.get("generator"))):
        if type(generator).__name__ == "Generator" and _arrays.is_array(state := call(generator, "get_state")):
            found[name] = {
                "initial_seed": call(generator, "initial_seed"),
                "state_hash": hashlib.sha256(_arrays.raw_bytes(state)).hexdigest()[:32],
            }
    counted = {name: sampler.own.get(name) for name in ("seed", "epoch")}
    if any(_whole(value) is not None for value in counted.values()):
        found["sampler"] = {**found.get("sampler", {}), **{k: v for k, v in counted.items() if _whole(v) is not None}}
    return found


def _believed(look: Look) -> dict[str, Any]:
    for link in look.chain:
        config = None if is_a(link.thing, type) else call(link.thing, "lde_config")
        if isinstance(config, Mapping):
            safe = hide_paths(redact(json_safe(config)))
            words = {name: safe.get(name) for name in ("split", "sampler", "transforms")}
            believed: dict[str, Any] = {name: word for name, word in words.items() if isinstance(word, str)}
            settings = safe.get("settings")
            return {**believed, **({"settings": settings} if isinstance(settings, dict) else {})}
    return {}
