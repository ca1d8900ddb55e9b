"""What can be known of data loaders: which data, which part of it, how it is transformed, sampled and batched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_lde.capture._access import call, callable_path, get, has_base, is_a, length, own, stable_repr
from lightning_lde.capture._arrays import indices_array
from lightning_lde.capture._data import chain_of, describe_dataset, indices_hash, subset_indices
from lightning_lde.capture._redaction import redact, redact_text
from lightning_lde.capture._values import hide_paths, json_safe
from lightning_lde.schema import Dataset, DatasetConfig, content_id, utc_now

_MAX_DEPTH = 16


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


def describe_loader(loader: object) -> tuple[Dataset, DatasetConfig]:
    """Describe the data set behind a loader and the use that the loader makes of it.

    An object whose method ``lde_config()`` returns ``split``, ``settings``, ``sampler`` or ``transforms`` is
    believed. The loader is not iterated.

    Args:
        loader: A ``DataLoader``; of any other object its own length and class are described.

    Returns:
        The rows of ``datasets`` and ``dataset_configs``; the id of the second covers ``dataset_id`` and all
        its fields but ``recorded_at``.
    """
    used = get(loader, "dataset")
    used = loader if used is None else used
    dataset = describe_dataset(used)
    believed = _believed(chain_of(used))
    facts = {"dataset_id": dataset.dataset_id, **_part(loader, used), **_batching(loader), **believed}
    config_id = content_id("dataset_configs", facts)
    return dataset, DatasetConfig(dataset_config_id=config_id, recorded_at=utc_now(), **facts)


def _part(loader: object, used: object) -> dict[str, Any]:
    chain = chain_of(used)
    rows = subset_indices(chain)
    # A sampler with fixed indices draws a part of the data just as a Subset does.
    drawn = _drawn(loader)
    if drawn is not None:
        rows = drawn if rows is None else _compose(rows, drawn)
    return {
        "split": _split(chain[-1]),
        "n_samples": length(used) if rows is None else len(rows),
        "indices_hash": None if rows is None else indices_hash(rows),
        "transforms": _transforms(chain),
    }


def _drawn(loader: object) -> Any:
    try:
        return indices_array(own(get(loader, "sampler"), "indices"))
    except Exception:
        return None


def _compose(rows: Any, drawn: Any) -> Any:
    try:
        return rows[drawn]
    except IndexError:
        return rows


def _split(root: object) -> str | None:
    # torchvision says train=True, Hugging Face split="train".
    split, train = get(root, "split"), own(root, "train")
    if isinstance(train, bool):
        return "train" if train else "test"
    text = call(split, "__str__") if isinstance(split, str) or type(split).__name__ == "NamedSplit" else None
    return redact_text(text) if isinstance(text, str) and text else None


def _transforms(chain: list[object]) -> str | None:
    for link in chain:
        for name in ("transforms", "transform"):
            transform = own(link, name)
            if transform is not None:
                return redact_text(stable_repr(transform))
    return None


def _batching(loader: object) -> dict[str, Any]:
    collate = get(loader, "collate_fn")
    return {
        "sampler": _sampler(loader),
        "batch_size": _whole(get(loader, "batch_size", get(get(loader, "batch_sampler"), "batch_size"))),
        "drop_last": _flag(get(loader, "drop_last")),
        "num_workers": _whole(get(loader, "num_workers")),
        "collate_fn": callable_path(collate) if callable(collate) else None,
        "settings": {},
    }


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _sampler(loader: object) -> str | None:
    batches = get(loader, "batch_sampler")
    custom = batches is not None and get(loader, "batch_size") is None
    sampler = batches if custom else get(loader, "sampler")
    if sampler is None:
        return None
    flags = [f"{name}={get(sampler, name)}" for name in ("shuffle",) if _flag(get(sampler, name)) is not None]
    if get(sampler, "replacement") is True:
        flags.append("replacement=True")
    return type(sampler).__name__ + (f"({', '.join(flags)})" if flags else "")


def _believed(chain: list[object]) -> dict[str, Any]:
    for link in chain:
        config = None if is_a(link, type) else call(link, "lde_config")
        if isinstance(config, Mapping):
            safe = hide_paths(redact(json_safe(config)))
            words = {name: safe.get(name) for name in ("split", "sampler", "transforms")}
            believed: dict[str, Any] = {name: word for name, word in words.items() if isinstance(word, str)}
            settings = safe.get("settings")
            return {**believed, **({"settings": settings} if isinstance(settings, dict) else {})}
    return {}
