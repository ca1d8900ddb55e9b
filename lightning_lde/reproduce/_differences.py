"""What differs between two recorded runs: environment, code, data, settings."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lightning_lde.reproduce._facts import Row, Use

THREADS = "torch.num_threads"
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_HARDWARE = ("machine", "cpu", "cpu_count", "memory_bytes", "gpus")
_CONTENT = (
    *("dataset_samples", "n_classes", "class_counts", "sample_shape", "sample_dtype", "size_bytes"),
    *("fingerprint", "fingerprint_method"),
)
_CONFIGURATION = (
    *("split", "n_samples", "indices_hash", "transforms", "sampler", "batch_size", "drop_last", "num_workers"),
    *("collate_fn", "settings"),
)
_LONGEST_VALUE = 80


class Difference(NamedTuple):
    """One thing that differs.

    Attributes:
        kind: ``"package"``, ``"python"``, ``"threads"``, ``"hardware"``, ``"determinism"``, ``"variable"``,
            ``"system"``, ``"commit"``, ``"diff"``, ``"file"``, ``"content"``, ``"configuration"`` or ``"setting"``.
        name: What differs.
        before: Its value in the run that is reproduced, None where it has none.
        now: Its value here.
    """

    kind: str
    name: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.name}: {_shown(self.before)} → {_shown(self.now)}"


def environment_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """What differs between two environments, torch's version first.

    Args:
        before: Columns of the table ``environments``.
        now: The same of the other one.

    Example:
        >>> row = {"python": "CPython 3.11.7", "packages": {"torch": "2.4.0"}}
        >>> [str(one) for one in environment_differences(row, {**row, "packages": {"torch": "2.5.0"}})]
        ['torch: 2.4.0 → 2.5.0']
    """
    if not before or not now:
        return []
    found = [Difference("python", "python", before.get("python"), now.get("python"))]
    found += _of_mappings("package", before.get("packages"), now.get("packages"))
    flags = _of_mappings("determinism", before.get("determinism"), now.get("determinism"))
    found += [one._replace(kind="threads") if one.name == THREADS else one for one in flags]
    variables = _of_mappings("variable", before.get("variables"), now.get("variables"))
    found += [one._replace(kind="threads") if one.name in _THREAD_VARIABLES else one for one in variables]
    found += [Difference("hardware", name, before.get(name), now.get(name)) for name in (*_HARDWARE, "cuda")]
    found += [Difference("system", "platform", before.get("platform"), now.get("platform"))]
    return sorted((one for one in found if one.before != one.now), key=_importance)


def code_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """What differs between the code of two runs: commit, uncommitted changes, files that no commit holds.

    Args:
        before: Columns of the table ``code``.
        now: The same of the other one.
    """
    if not before or not now:
        return []
    found = [
        Difference("commit", "commit", before.get("commit"), now.get("commit")),
        Difference("diff", "uncommitted changes", _lines(before.get("diff")), _lines(now.get("diff"))),
        Difference("file", str(now.get("entry_point")), before.get("entry_point_hash"), now.get("entry_point_hash")),
    ]
    if before.get("diff") != now.get("diff") and found[1].before == found[1].now:
        found[1] = found[1]._replace(now=f"{found[1].now}, others")
    hashes = [{row["path"]: row["sha256"] for row in code.get("untracked") or []} for code in (before, now)]
    found += _of_mappings("file", *hashes)
    return list(dict.fromkeys(one for one in found if one.before != one.now))


def data_differences(before: Sequence[Use], now: Sequence[Use]) -> list[Difference]:
    """What differs between the data of two runs, each data set beside the one that stands in its place.

    Args:
        before: The data sets of one run.
        now: Those of the other one.
    """
    found: list[Difference] = []
    for relation in sorted({use.relation for use in (*before, *now)}):
        sides = [[use.facts for use in uses if use.relation == relation] for uses in (before, now)]
        for number, (one, other) in enumerate(itertools.zip_longest(*sides), start=1):
            where = f"{relation} {number}" if max(map(len, sides)) > 1 else relation
            found += _of_use(where, one, other)
    return found


def setting_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """What differs between two pipelines and their settings.

    Args:
        before: Columns of the tables ``pipelines`` and ``pipeline_configs``.
        now: The same of the other one.
    """
    if not before or not now:
        return []
    found = [
        Difference("setting", name, before.get(name), now.get(name))
        for name in ("module_class", "source_hash", "layers")
    ]
    for name in ("hparams", "trainer"):
        found += _of_mappings("setting", before.get(name), now.get(name), prefix=f"{name}.")
    for name in ("optimizers", "schedulers"):
        found.append(Difference("setting", name, before.get(name), now.get(name)))
    # Which loggers and bars watch it decides nothing.
    return [one for one in found if one.before != one.now and one.name not in {"trainer.loggers", "trainer.callbacks"}]


def _of_use(where: str, before: Row | None, now: Row | None) -> list[Difference]:
    if before is None or now is None:
        names = [None if use is None else use.get("dataset") or use.get("dataset_id") for use in (before, now)]
        return [Difference("content", f"{where}: data set", *names)]
    title = f"{where}: {now.get('dataset')}"
    found = [
        Difference(kind, f"{title} {column}", before.get(column), now.get(column))
        for kind, columns in (("content", _CONTENT), ("configuration", _CONFIGURATION))
        for column in columns
    ]
    return [one for one in found if one.before != one.now]


def _of_mappings(kind: str, before: Any, now: Any, *, prefix: str = "") -> list[Difference]:
    one, other = before or {}, now or {}
    return [
        Difference(kind, f"{prefix}{name}", one.get(name), other.get(name))
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name)
    ]


def _importance(difference: Difference) -> tuple[int, str]:
    kinds = ("package", "threads", "determinism", "python", "hardware", "variable", "system")
    first = {"torch": -3, "pytorch-lightning": -2, "lightning": -2, "numpy": -1}
    return first.get(difference.name, kinds.index(difference.kind)), difference.name


def _lines(diff: Any) -> str | None:
    return f"{len(diff.splitlines())} lines" if diff else None


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
