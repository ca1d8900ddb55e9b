"""What can be known of a data set without taking one sample from it: its content and its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from lightning_lde.capture import _arrays
from lightning_lde.capture._access import call, class_path, get, has_base, is_a, length, own
from lightning_lde.capture._redaction import redact, redact_text
from lightning_lde.capture._values import hide_paths, json_safe
from lightning_lde.schema import Dataset, canonical_json, content_id, utc_now

_FACTS: Mapping[str, type] = {
    "name": str,
    "uri": str,
    "version": str,
    "kind": str,
    "n_samples": int,
    "n_classes": int,
    "class_counts": dict,
    "sample_shape": list,
    "sample_dtype": str,
    "size_bytes": int,
    "fingerprint": str,
    "fingerprint_method": str,
    "licence": str,
}
_MAX_CHAIN = 32


def describe_dataset(dataset: object) -> Dataset:
    """Describe the content of a data set, whoever uses it and however.

    An object with a method ``lde_facts()`` is believed. Otherwise tensors, ``TensorDataset``, torchvision's
    data sets in memory, Hugging Face data sets and concatenations are fingerprinted by content; of anything
    else only the structure is known (class and length), and ``fingerprint_method`` says so. A ``Subset``
    is described as the data set that it was taken from. No sample is drawn, so no transform runs.

    Args:
        dataset: Any object.

    Returns:
        The row; its id covers fingerprint, method and number of samples.

    Example:
        >>> import torch
        >>> from torch.utils.data import TensorDataset
        >>> row = describe_dataset(TensorDataset(torch.zeros(4, 3), torch.tensor([0, 1, 1, 1])))
        >>> row.n_samples, row.class_counts, row.sample_shape, row.fingerprint_method
        (4, {'0': 1, '1': 3}, [3], 'sha256 of content')
    """
    root = chain_of(dataset)[-1]
    facts = {name: value for name, value in _facts_of(root).items() if value is not None}
    if "fingerprint" not in facts:
        facts |= _structure(root, facts)
    facts.setdefault("fingerprint_method", "unknown")
    identity = {name: facts.get(name) for name in ("fingerprint", "fingerprint_method", "n_samples")}
    return Dataset(dataset_id=content_id("datasets", identity), recorded_at=utc_now(), **facts)


def chain_of(dataset: object) -> list[object]:
    """The data set, the one it is a ``Subset`` of, and so on to the root."""
    chain = [dataset]
    while len(chain) < _MAX_CHAIN and has_base(chain[-1], "Subset") and own(chain[-1], "dataset") is not None:
        if callable(get(chain[-1], "lde_facts")):
            break
        chain.append(own(chain[-1], "dataset"))
    return chain


def subset_indices(chain: list[object]) -> Any:
    """The rows of the root that a chain of subsets leaves, int64 of shape (n,), None for all of them."""
    rows = None
    try:
        for link in reversed(chain[:-1]):
            chosen = _arrays.indices_array(own(link, "indices"))
            rows = chosen if rows is None or chosen is None else rows[chosen]
            if rows is None:
                return None
    except Exception:
        return None
    return rows


def indices_hash(rows: Any) -> str:
    """32 hexadecimal digits over indices, in their order."""
    return hashlib.sha256(rows.tobytes()).hexdigest()[:32]


def _facts_of(root: object) -> dict[str, Any]:
    if (given := _believed(root)) is not None:
        return given
    common = {"name": type(root).__name__, "n_samples": length(root)}
    for describe in (_concatenation, _tensors, _hugging_face, _in_memory):
        try:
            found = describe(root)
        except Exception:
            found = None
        if found is not None:
            return {**common, **found}
    return {**common, "kind": "iterable" if common["n_samples"] is None else "map"}


def _believed(root: object) -> dict[str, Any] | None:
    facts = None if is_a(root, type) else call(root, "lde_facts")
    if not isinstance(facts, Mapping) or not facts:
        return None
    safe = redact(json_safe(facts))
    return {name: hide_paths(safe[name]) for name, kind in _FACTS.items() if isinstance(safe.get(name), kind)}


def _structure(root: object, facts: Mapping[str, Any]) -> dict[str, str]:
    known = {name: facts.get(name) for name in ("name", "n_samples", "n_classes", "class_counts", "sample_shape")}
    text = canonical_json([class_path(type(root)), known])
    return {"fingerprint": hashlib.sha256(text.encode()).hexdigest()[:32], "fingerprint_method": "structure"}


def _content(arrays: list[Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "sample_shape": [int(size) for size in arrays[0].shape[1:]],
        "sample_dtype": _arrays.dtype_name(arrays[0]),
        "size_bytes": sum(map(_arrays.size_bytes, arrays)),
    }
    try:
        facts["fingerprint"], facts["fingerprint_method"] = _arrays.fingerprint(arrays)
    except Exception:
        facts["fingerprint"] = None
    return facts


def _classes(labels: object, *, names: object = None) -> dict[str, Any]:
    try:
        counts = _arrays.class_counts(labels)
    except Exception:
        counts = {}
    n_classes = length(names) if isinstance(names, (list, tuple)) else len(counts)
    return {"class_counts": counts, "n_classes": n_classes or None}


def _tensors(root: object) -> dict[str, Any] | None:
    if _arrays.is_array(root) and length(root) is not None:
        return {"kind": "tensors", **_content([root])}
    tensors = own(root, "tensors")
    if not has_base(root, "TensorDataset") or not isinstance(tensors, tuple) or not tensors:
        return None
    if not all(_arrays.is_array(tensor) for tensor in tensors):
        return None
    labels = _classes(tensors[-1]) if len(tensors) > 1 else {}
    return {"kind": "tensors", **_content(list(tensors)), **labels}


def _in_memory(root: object) -> dict[str, Any] | None:
    # Only what lies in the instance: a property could read the whole data set from a disk.
    data, targets = own(root, "data"), own(root, "targets")
    if targets is None:
        targets = own(root, "labels")
    if not _arrays.is_array(data) or targets is None or length(data) != length(targets):
        return None
    labels = targets if _arrays.is_array(targets) else _arrays.indices_array(targets)
    arrays = [data] if labels is None else [data, labels]
    return {"kind": "arrays", **_content(arrays), **_classes(targets, names=get(root, "classes"))}


def _hugging_face(root: object) -> dict[str, Any] | None:
    fingerprint = own(root, "_fingerprint")
    if not isinstance(fingerprint, str) or not fingerprint:
        return None
    info = get(root, "info")
    texts = {"name": get(info, "dataset_name") or get(info, "builder_name"), "licence": get(info, "license")}
    facts = {name: redact_text(text) for name, text in texts.items() if isinstance(text, str) and text}
    version = get(info, "version")
    return {
        **facts,
        "kind": "huggingface",
        "version": None if version is None else redact_text(str(version)),
        "fingerprint": fingerprint,
        "fingerprint_method": "huggingface",
    }


def _concatenation(root: object) -> dict[str, Any] | None:
    parts = own(root, "datasets")
    if not has_base(root, "ConcatDataset", "ChainDataset") or not isinstance(parts, (list, tuple)):
        return None
    digests, methods = [], set()
    for part in parts:
        row, rows = describe_dataset(part), subset_indices(chain_of(part))
        digests.append([row.fingerprint, row.n_samples, None if rows is None else indices_hash(rows)])
        methods.add(str(row.fingerprint_method))
    return {
        "kind": "concatenation",
        "fingerprint": hashlib.sha256(canonical_json(digests).encode()).hexdigest()[:32],
        "fingerprint_method": f"sha256 of {len(parts)} parts ({', '.join(sorted(methods))})",
    }
