"""What can be known of a data set without taking one sample from it: its content and its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from lightning_lde.capture import _arrays
from lightning_lde.capture._access import call, class_path, get, has_base, is_a, length
from lightning_lde.capture._columns import arrow_table, fingerprint_table, is_frame
from lightning_lde.capture._contents import contents_of, samples_among
from lightning_lde.capture._files import are_files, fingerprint_files
from lightning_lde.capture._looks import Look, look_at
from lightning_lde.capture._pace import HurriedError, Pace
from lightning_lde.capture._redaction import redact, redact_text
from lightning_lde.capture._samples import Samples, chained, combined, labelled
from lightning_lde.capture._source import is_library
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
_LABEL_NAMES = ("targets", "labels", "target", "label", "y")


def describe_dataset(dataset: object, *, fingerprint: str = "cheap") -> Dataset:
    """Describe the content of a data set, whoever uses it and however.

    An object with a method ``lde_facts()`` is believed. Otherwise tensors, ``TensorDataset``, torchvision's data sets
    in memory and in folders, Hugging Face data sets, Arrow tables, data frames, files, and what is made of such are
    fingerprinted by content; so is what lies in the attributes of a data set of the user's own. Of anything else,
    such as a stream, only the structure is known (class and length), and ``fingerprint_method`` says so. A
    ``Subset``, and a wrapper of the same length, is described as the data set that it was taken from. No sample is
    drawn, so no transform runs.

    Args:
        dataset: Any object.
        fingerprint: ``"cheap"`` reads a sample of what is large, ``"exact"`` reads all of it.

    Returns:
        The row; its id covers fingerprint, method and number of samples.

    Example:
        >>> import torch
        >>> from torch.utils.data import TensorDataset
        >>> row = describe_dataset(TensorDataset(torch.zeros(4, 3), torch.tensor([0, 1, 1, 1])))
        >>> row.n_samples, row.class_counts, row.sample_shape, row.fingerprint_method
        (4, {'0': 1, '1': 3}, [3], 'sha256 of content')
    """
    return dataset_of(look_at(dataset), Pace(fingerprint=fingerprint))


def dataset_of(look: Look, pace: Pace) -> Dataset:
    """Describe the content of a data set that was looked at before.

    Args:
        look: The look at it, or at a part of it.
        pace: How to go on; hurried, only the structure is described.
    """
    return dataset_and_samples(look, pace)[0]


def dataset_and_samples(look: Look, pace: Pace) -> tuple[Dataset, Samples | None]:
    """Describe the content of a data set that was looked at before, and its samples where the pace asks for them.

    Args:
        look: The look at it, or at a part of it.
        pace: How to go on; hurried, only the structure is described.
    """
    root = look.chain[-1]
    unread = False
    try:
        found = _facts_of(root, pace)
    except HurriedError:
        found, unread = _plain_facts(root), bool(pace.reason)
    samples = found.pop("samples", None)
    facts = {name: value for name, value in found.items() if value is not None}
    if "fingerprint" not in facts:
        facts |= _structure(root.thing, facts)
        if unread:
            facts["fingerprint_method"] += ", not read to the end"
    facts.setdefault("fingerprint_method", "unknown")
    identity = {name: facts.get(name) for name in ("fingerprint", "fingerprint_method", "n_samples")}
    if facts["fingerprint_method"].endswith("not read to the end"):
        # Why makes it no other data set.
        facts["fingerprint_method"] += f": {pace.reason}"
    return Dataset(dataset_id=content_id("datasets", identity), recorded_at=utc_now(), **facts), samples


def rows_used(look: Look, pace: Pace) -> Any:
    """The rows of the root that subsets leave, int64 of shape (n,), None for all of them or where it is not known.

    Args:
        look: The look at the outermost data set.
        pace: How to go on.

    Raises:
        HurriedError: If the pace says so.
    """
    rows = None
    try:
        for link in reversed(look.chain):
            if has_base(link.thing, "Subset") and link.inner is not None:
                chosen = _arrays.indices_array(link.own.get("indices"), pace)
                if chosen is None:
                    return None
            elif (chosen := _hugging_face_rows(link)) is None:
                continue
            rows = chosen if rows is None else rows[chosen]
    except HurriedError:
        raise
    except Exception:
        return None
    return rows


def indices_hash(rows: Any) -> str:
    """32 hexadecimal digits over indices, in their order."""
    return hashlib.sha256(rows.tobytes()).hexdigest()[:32]


def _facts_of(root: Look, pace: Pace) -> dict[str, Any]:
    if (given := _believed(root.thing)) is not None:
        return given
    common = _plain_facts(root)
    for describe in (_parts, _tensors, _hugging_face, _in_memory, _files, _table, _attributes):
        try:
            found = describe(root, pace)
        except HurriedError:
            raise
        except Exception:
            found = None
        if found is not None:
            return {**common, **found}
    return common


def _plain_facts(root: Look) -> dict[str, Any]:
    kind = "iterable" if root.n is None else "map"
    return {"name": type(root.thing).__name__, "n_samples": root.n, "kind": kind}


def _believed(root: object) -> dict[str, Any] | None:
    facts = None if is_a(root, type) else call(root, "lde_facts")
    if not isinstance(facts, Mapping) or not facts:
        return None
    safe = redact(json_safe(facts))
    return {name: hide_paths(safe[name]) for name, kind in _FACTS.items() if isinstance(safe.get(name), kind)}


def _structure(root: object, facts: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: facts.get(name) for name in ("name", "n_samples", "n_classes", "class_counts", "sample_shape")}
    text = canonical_json([class_path(type(root)), known])
    return {"fingerprint": hashlib.sha256(text.encode()).hexdigest()[:32], "fingerprint_method": "structure"}


def _content(arrays: list[Any], pace: Pace) -> dict[str, Any]:
    facts: dict[str, Any] = {**_shape_of(arrays[0]), "size_bytes": sum(map(_arrays.size_bytes, arrays))}
    try:
        found = _arrays.fingerprint(arrays, pace)
        facts |= _known(found.fingerprint, found.method)
        facts["samples"] = None if found.hashes is None else Samples(found.hashes)
    except HurriedError:
        raise
    except Exception:
        facts["fingerprint"] = None
    return facts


def _shape_of(array: Any) -> dict[str, Any]:
    return {"sample_shape": [int(size) for size in array.shape[1:]], "sample_dtype": _arrays.dtype_name(array)}


def _classes(labels: object, *, names: object = None) -> dict[str, Any]:
    try:
        counts = _arrays.class_counts(labels)
    except Exception:
        counts = {}
    n_classes = length(names) if isinstance(names, (list, tuple)) else len(counts)
    return {"class_counts": counts, "n_classes": n_classes or None}


def _with_labels(facts: dict[str, Any], labels: object, *, names: object = None) -> dict[str, Any]:
    return {**facts, **_classes(labels, names=names), "samples": labelled(facts.get("samples"), labels)}


def _parts(root: Look, pace: Pace) -> dict[str, Any] | None:
    """A concatenation, a stack, or a user's data set made of others."""
    if not root.parts:
        return None
    stacked = not has_base(root.thing, "ConcatDataset", "ChainDataset")
    digests, methods = [], set()
    samples: list[Samples | None] = []
    for name, part in root.parts:
        (row, all_samples), rows = dataset_and_samples(part, pace), rows_used(part, pace)
        samples.append(all_samples if all_samples is None or rows is None else all_samples.taken(rows))
        digest = [row.fingerprint, row.n_samples, None if rows is None else indices_hash(rows)]
        digests.append([name, *digest] if stacked else digest)
        methods.add(str(row.fingerprint_method))
        pace.breathe()
    contents = {} if is_library(type(root.thing)) else contents_of(root, pace)
    digests += [[name, content.fingerprint] for name, content in contents.items()]
    methods |= {content.method for content in contents.values()}
    return {
        "kind": "stack" if stacked else "concatenation",
        "samples": _samples_of_parts(samples, stacked=stacked, n=root.n),
        "fingerprint": hashlib.sha256(canonical_json(digests).encode()).hexdigest()[:32],
        "fingerprint_method": f"sha256 of {len(digests)} parts ({', '.join(sorted(methods))})",
    }


def _samples_of_parts(parts: list[Samples | None], *, stacked: bool, n: int | None) -> Samples | None:
    known = [part for part in parts if part is not None]
    if not stacked:
        return chained(known) if len(known) == len(parts) else None
    return combined(known) if all(len(part) == n for part in known) else None


def _tensors(root: Look, pace: Pace) -> dict[str, Any] | None:
    if _arrays.is_array(root.thing) and root.n is not None:
        return {"kind": "tensors", **_content([root.thing], pace)}
    tensors = root.own.get("tensors")
    if not has_base(root.thing, "TensorDataset") or not isinstance(tensors, tuple) or not tensors:
        return None
    if not all(_arrays.is_array(tensor) for tensor in tensors):
        return None
    facts = {"kind": "tensors", **_content(list(tensors), pace)}
    return facts if len(tensors) == 1 else _with_labels(facts, tensors[-1])


def _in_memory(root: Look, pace: Pace) -> dict[str, Any] | None:
    # Only what lies in the instance: a property could read the whole data set from a disk.
    data, targets = root.own.get("data"), root.own.get("targets")
    if targets is None:
        targets = root.own.get("labels")
    if not _arrays.is_array(data) or targets is None or length(data) != length(targets):
        return None
    labels = targets if _arrays.is_array(targets) else _arrays.indices_array(targets, pace)
    arrays = [data] if labels is None else [data, labels]
    names = root.own.get("classes", get(type(root.thing), "classes"))
    return _with_labels({"kind": "arrays", **_content(arrays, pace)}, targets, names=names)


def _files(root: Look, pace: Pace) -> dict[str, Any] | None:
    """Files with labels, as torchvision's ``DatasetFolder`` lists them."""
    for name in ("samples", "imgs"):
        samples = root.own.get(name)
        if isinstance(samples, list) and samples and are_files(samples, _path, root.own.get("root")):
            break
    else:
        return None
    targets = root.own.get("targets")
    if length(targets) != len(samples):
        targets = [_target(sample) for sample in samples]
    found = fingerprint_files(samples, path_of=_path, label_of=_target, root=root.own.get("root"), pace=pace)
    pace.breathe()
    return {
        "kind": "files",
        **_known(found.fingerprint, found.method),
        "size_bytes": found.size_bytes,
        "modified_at": found.modified_at,
        "samples": found.samples,
        **_classes(_arrays.indices_array(targets, pace), names=root.own.get("classes")),
    }


def _path(sample: Any) -> object:
    return sample[0] if isinstance(sample, (list, tuple)) and sample else sample


def _target(sample: Any) -> object:
    return sample[1] if isinstance(sample, (list, tuple)) and len(sample) > 1 else None


def _known(fingerprint: str, method: str) -> dict[str, Any]:
    return {"fingerprint": fingerprint, "fingerprint_method": method}


def _hugging_face(root: Look, pace: Pace) -> dict[str, Any] | None:
    """By the rows of its Arrow table; by the library's own word where it shows none."""
    own_word = root.own.get("_fingerprint")
    if not isinstance(own_word, str) or not own_word:
        return None
    info = get(root.thing, "info")
    texts = {"name": get(info, "dataset_name") or get(info, "builder_name"), "licence": get(info, "license")}
    facts: dict[str, Any] = {name: redact_text(text) for name, text in texts.items() if isinstance(text, str) and text}
    version = get(info, "version")
    facts |= {"kind": "huggingface", "version": None if version is None else redact_text(str(version))}
    table = arrow_table(root.own.get("_data"))
    if table is None:
        return {**facts, **_known(own_word, "huggingface")}
    features = get(info, "features")
    return {
        **facts,
        **_table_content(table, pace, _label_column(table, features)),
        **_columns_of(table),
        **_table_classes(table, features),
        "n_samples": len(table),
    }


def _table_content(table: Any, pace: Pace, label: str | None = None) -> dict[str, Any]:
    found = fingerprint_table(table, pace)
    samples = None if found.hashes is None else Samples(found.hashes)
    if samples is not None and label is not None and not table.column(label).null_count:
        samples = labelled(samples, table.column(label).to_numpy())
    return {**_known(found.fingerprint, found.method), "size_bytes": found.size_bytes, "samples": samples}


def _label_column(table: Any, features: object) -> str | None:
    for name, feature in features.items() if isinstance(features, Mapping) else ():
        if type(feature).__name__ == "ClassLabel" and name in table.column_names:
            return str(name)
    return None


def _hugging_face_rows(link: Look) -> Any:
    """The rows that ``select``, ``shuffle`` or ``train_test_split`` left of the table, None for all."""
    indices = arrow_table(link.own.get("_indices"))
    if indices is None or arrow_table(link.own.get("_data")) is None:
        return None
    return indices.column(0).to_numpy().astype("int64")


def _table_classes(table: Any, features: object) -> dict[str, Any]:
    import pyarrow.compute as pc

    for name, feature in features.items() if isinstance(features, Mapping) else ():
        names = get(feature, "names")
        if type(feature).__name__ == "ClassLabel" and isinstance(names, list) and name in table.column_names:
            counts = pc.value_counts(table.column(name)).to_pylist()
            known = {str(one["values"]): one["counts"] for one in counts if one["values"] is not None}
            return {"n_classes": len(names), "class_counts": dict(sorted(known.items()))}
    return {}


def _table(root: Look, pace: Pace) -> dict[str, Any] | None:
    table = arrow_table(root.thing)
    if table is None and not is_frame(root.thing):
        return None
    columns = {} if table is None else _columns_of(table)
    return {"kind": "table", **_table_content(root.thing if table is None else table, pace), **columns}


def _columns_of(table: Any) -> dict[str, Any]:
    return {"sample_dtype": redact_text(", ".join(f"{field.name}: {field.type}" for field in table.schema)[:1000])}


def _attributes(root: Look, pace: Pace) -> dict[str, Any] | None:
    """What lies in the attributes of a data set of the user's own."""
    if is_a(root.thing, type) or type(root.thing).__module__ == "builtins" or not root.own:
        return None
    contents = contents_of(root, pace)
    if not contents:
        return None
    digests = [[name, content.fingerprint] for name, content in contents.items()]
    methods = sorted({content.method for content in contents.values()})
    sizes = [content.size_bytes for content in contents.values() if content.size_bytes is not None]
    times = [content.modified_at for content in contents.values() if content.modified_at is not None]
    return {
        **_known(
            hashlib.sha256(canonical_json(digests).encode()).hexdigest()[:32],
            f"sha256 of {len(contents)} attributes ({', '.join(methods)})",
        ),
        "size_bytes": sum(sizes) if sizes else None,
        "modified_at": max(times, default=None),
        **_shape_and_classes(root, samples_among(contents, root.n)),
    }


def _shape_and_classes(root: Look, samples: Samples | None) -> dict[str, Any]:
    """Shape and classes, where an attribute has one row or one label for each sample."""
    facts: dict[str, Any] = {"samples": samples}
    rows = [value for value in root.own.values() if _arrays.is_array(value) and value.shape[:1] == (root.n,)]
    if data := [value for value in rows if len(value.shape) > 1]:
        facts |= _shape_of(data[0])
    for name in _LABEL_NAMES:
        labels = root.own.get(name)
        if labels is not None and length(labels) == root.n:
            return _with_labels(facts, labels)
    return facts
