"""Versions of a data set, and what depends on one, as flat tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lightning_lde.cli._lineage_words import kind_words, node_facts, relation_words
from lightning_lde.cli._show import size

if TYPE_CHECKING:
    import pyarrow as pa

    from lightning_lde.query import Affected, DataVersion, SampleChanges

_SHORT_ID = 12
_MOST_CLASSES = 5
_MOST_COUNTED = 20
_THINGS = {"path": "file", "row": "row"}


def history_table(versions: list[DataVersion]) -> pa.Table:
    """One row per version, for programs: whole ids, all runs, changes as JSON."""
    import pyarrow as pa

    moment, words = pa.timestamp("us", tz="UTC"), pa.list_(pa.string())
    schema = pa.schema(
        [
            ("version", pa.int64()), ("dataset_id", pa.string()), ("first_used", moment), ("last_used", moment),
            ("used_as", words), ("run_ids", words), ("n_samples", pa.int64()), ("n_classes", pa.int64()),
            ("size_bytes", pa.int64()), ("fingerprint", pa.string()), ("fingerprint_method", pa.string()),
            ("before", pa.string()), ("changed", pa.string()), ("changes", pa.string()),
            ("samples", pa.string()), ("samples_unknown", pa.string()),
        ]
    )  # fmt: skip
    return pa.Table.from_pylist([_version_row(version) for version in versions], schema=schema)


def short_history_table(versions: list[DataVersion]) -> pa.Table:
    """One row per version, for people."""
    import pyarrow as pa

    return pa.Table.from_pylist(
        [
            {
                "version": version.number,
                "dataset_id": version.dataset_id[:_SHORT_ID],
                "first used": version.first_used,
                "last used": version.last_used,
                "as": ", ".join(version.used_as) or "not used",
                "runs": len(version.uses),
                "samples": version.facts["n_samples"],
                "classes": version.facts["n_classes"],
                "size": size(version.facts["size_bytes"]),
                "fingerprint": f"{(version.facts['fingerprint'] or '')[:_SHORT_ID]}",
                "changed": _since(version, versions) + changes_in_words(version),
            }
            for version in versions
        ]
    )


def changes_in_words(version: DataVersion) -> str:
    """What differs from the version before, in words.

    Without manifests only totals and counts of classes are known: two samples that took the place of two others change
    the fingerprint and nothing else.
    """
    if version.before is None:
        return "first" if version.number == 1 else "first for this use"
    changes = dict(version.changes)
    parts = []
    if samples := changes.pop("n_samples", None):
        parts.append(f"samples {_from_to(*samples)}{_difference(*samples)}")
    changes.pop("n_classes", None)
    if classes := changes.pop("classes", None):
        parts += _classes(classes)
    elif counts := version.changes.get("n_classes"):
        parts.append(f"classes {_from_to(*counts)}{_difference(*counts)}")
    if sizes := changes.pop("size_bytes", None):
        parts.append(f"size {_from_to(*map(size, sizes))}")
    method = changes.pop("fingerprint_method", None)
    if method and version.samples is None:
        parts.append(f"fingerprint made by {_from_to(*method)}: the content may be the same")
    parts += [f"{name.replace('_', ' ')} {_from_to(*pair)}" for name, pair in changes.items()]
    if version.samples is not None:
        parts.insert(0, sample_counts(version.samples))
    return "; ".join(parts) or "content only: all counts and sizes are equal"


def sample_counts(samples: SampleChanges) -> str:
    """How many samples were added, removed and changed, in words.

    Example:
        >>> from lightning_lde.query import SampleChanges
        >>> sample_counts(
        ...     SampleChanges(
        ...         known_by="row", added=2, removed=2, changed=0, renamed=0, replaced=2, kept=8, in_order=True
        ...     )
        ... )
        '2 rows added, 2 rows removed (2 replaced in place)'
    """
    thing = _THINGS[samples.known_by]
    counts = {"added": samples.added, "removed": samples.removed, "changed": samples.changed}
    words = ", ".join(f"{n} {thing}{'' if n == 1 else 's'} {word}" for word, n in counts.items() if n)
    aside = []
    if samples.renamed:
        aside.append(f"{samples.renamed} renamed")
    if samples.replaced:
        aside.append(f"{samples.replaced} replaced in place")
    if not samples.in_order:
        aside.append("in another order")
    if not words:
        words = f"the same {thing}s" + ("" if aside else ", the difference is beside them")
    return f"{words} ({', '.join(aside)})" if aside else words


def sample_lines(version: DataVersion, versions: list[DataVersion]) -> list[tuple[str, str]]:
    """What became of the samples since the version before, a name and words each; nothing where it is not asked for.

    Args:
        version: The version.
        versions: All of the name.
    """
    samples = version.samples
    before = next((one.number for one in versions if one.dataset_id == version.before), None)
    if samples is None or before is None:
        return []
    labels, examples = (
        {"added": samples.labels_added, "removed": samples.labels_removed},
        {"added": samples.examples_added, "removed": samples.examples_removed, "changed": samples.examples_changed},
    )
    totals = {"added": samples.added, "removed": samples.removed, "changed": samples.changed}
    lines = [(f"since version {before}", sample_counts(samples)), ("kept", f"{samples.kept}")]
    lines += [
        (f"classes {word}", ", ".join(f"{name} ({count})" for name, count in _first(found)))
        for word, found in labels.items()
        if found
    ]
    for word, found in examples.items():
        if found:
            more = totals[word] - len(found)
            names = ", ".join(map(str, found)) + (f" and {more} more" if more else "")
            lines.append((f"{_THINGS[samples.known_by]}s {word}", names))
    return lines


def unknown_samples(versions: list[DataVersion]) -> str | None:
    """Why it is not known which samples changed, and what to do; None where it is known of all versions."""
    unknown = [version for version in versions if version.samples_unknown]
    if not unknown:
        return None
    numbers = {one.dataset_id: one.number for one in versions}
    parts = [
        f"  version {one.number} since {numbers[str(one.before)]}: {one.samples_unknown}"
        for one in unknown[:_MOST_CLASSES]
    ]
    more = len(unknown) - len(parts)
    return "\n".join(
        [
            "which samples were added or removed is not known of",
            *parts,
            *([f"  and {more} more"] if more else []),
            'record with LDECallback(..., data_fingerprint="exact"), at a level of capture above "minimal":',
            "from then on the lake has a hash of each sample",
        ]
    )


def impact_table(affected: list[Affected]) -> pa.Table:
    """One row per thing, for programs."""
    import pyarrow as pa

    names = ("kind", "id", "label", "run_id", "status", "how", "generation", "path")
    kinds = {"generation": pa.int64(), "path": pa.list_(pa.string())}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in names])
    rows = [
        {
            "kind": one.node.kind,
            "id": one.node.id,
            "label": one.node.label,
            "run_id": one.run_id,
            "status": one.node.facts.get("status"),
            "how": one.how,
            "generation": one.generation,
            "path": [f"{node.kind} {node.id}" for node in one.path],
        }
        for one in affected
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def short_impact_table(affected: list[Affected]) -> pa.Table:
    """One row per thing, for people."""
    import pyarrow as pa

    columns = ("what", "name", "id", "how", "by way of", "known")
    rows = [
        {
            "what": kind_words(one.node.kind),
            "name": one.node.label if one.node.label != one.node.id else "",
            "id": one.node.id if one.node.kind in {"run", "evaluation"} else one.node.id[:_SHORT_ID],
            "how": relation_words(one.how, upwards=one.node.kind == "run"),
            "by way of": " → ".join(node.label for node in one.path if node.kind in {"run", "weights", "artifact"}),
            "known": node_facts(one.node),
        }
        for one in affected
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema([(name, pa.string()) for name in columns]))


def _version_row(version: DataVersion) -> dict[str, Any]:
    facts = version.facts
    names = ("n_samples", "n_classes", "size_bytes", "fingerprint", "fingerprint_method")
    return {
        "version": version.number,
        "dataset_id": version.dataset_id,
        "first_used": version.first_used,
        "last_used": version.last_used,
        "used_as": list(version.used_as),
        "run_ids": [use.run_id for use in version.uses],
        **{name: facts[name] for name in names},
        "before": version.before,
        "changed": changes_in_words(version),
        "changes": json.dumps(version.changes, ensure_ascii=False),
        "samples": None if version.samples is None else json.dumps(version.samples.as_dict(), ensure_ascii=False),
        "samples_unknown": version.samples_unknown,
    }


def _since(version: DataVersion, versions: list[DataVersion]) -> str:
    """Which version the changes are against, where it is not the row above."""
    before = next((one.number for one in versions if one.dataset_id == version.before), None)
    return "" if before is None or before == version.number - 1 else f"against {before}: "


def _from_to(before: object, after: object) -> str:
    return f"{_known(before)} → {_known(after)}"


def _known(value: object) -> str:
    return "unknown" if value is None or value == "" else str(value)


def _difference(before: int | None, after: int | None) -> str:
    return "" if before is None or after is None else f" ({after - before:+d})"


def _classes(classes: dict[str, dict[str, Any]]) -> list[str]:
    words = {"added": "new", "removed": "gone"}
    parts = [
        f"classes {word}: {_few([f'{name} ({count})' for name, count in classes[key].items()])}"
        for key, word in words.items()
        if classes[key]
    ]
    if changed := classes["changed"]:
        few = _few([f"{name} {_from_to(*pair)}" for name, pair in changed.items()])
        parts.append(f"counts: {few}")
    return parts


def _first(counts: dict[str, int]) -> list[tuple[str, int]]:
    return list(counts.items())[:_MOST_COUNTED]


def _few(words: list[str]) -> str:
    more = len(words) - _MOST_CLASSES
    return ", ".join(words[:_MOST_CLASSES]) + (f" and {more} more" if more > 0 else "")
