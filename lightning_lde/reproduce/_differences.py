"""What differs between two recorded runs: environment, code, data, settings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from lightning_lde.query import MISSING, Fact, SampleChanges, compare_environments, differences, placed_uses
from lightning_lde.reproduce._facts import Row, Use

CompareSamples = Callable[[dict[str, Any], dict[str, Any]], SampleChanges | str]
"""What became of the samples from one row of the table ``datasets`` to another, or why it is not known."""

THREADS = "torch.num_threads"
THREAD_VARIABLES = frozenset({"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"})
_KINDS = {
    "python": "python",
    "platform": "system",
    **dict.fromkeys(
        ("machine", "cpu", "cpu_count", "memory_bytes", "gpus", "cuda", "gpu_driver", "cuda_driver", "cudnn"),
        "hardware",
    ),
}
_SEEN = ("dataset_samples", "n_classes", "class_counts", "sample_shape", "sample_dtype")
# What these are depends on how the data were looked at.
_BY_METHOD = ("size_bytes", "fingerprint")
_CONFIGURATION = (
    *("split", "n_samples", "indices_hash", "transforms", "sampler", "batch_size", "drop_last", "num_workers"),
    *("collate_fn", "settings"),
)
_WHOLE = ("module_class", "source_hash", "layers")
_LONGEST_VALUE = 80
_NOT_RECORDED = "not recorded"


class Difference(NamedTuple):
    """One thing that differs.

    Attributes:
        kind: ``"package"``, ``"python"``, ``"threads"``, ``"hardware"``, ``"determinism"``, ``"variable"``,
            ``"system"``, ``"commit"``, ``"diff"``, ``"file"``, ``"content"``, ``"configuration"``, ``"setting"``, or
            ``"unknown"`` where it is not known whether there is a difference.
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
    found = compare_environments([_known(before), _known(now)])
    machine = [(_KINDS.get(re.split(r"[.\[]", fact.key)[0]), fact) for fact in found.machine]
    flags = [("threads" if fact.key == THREADS else "determinism", fact) for fact in found.determinism]
    variables = [("threads" if fact.key in THREAD_VARIABLES else "variable", fact) for fact in found.variables]
    packages = [("package", fact) for fact in found.packages]
    told = [
        _difference(kind, fact) for kind, fact in (*packages, *flags, *variables, *machine) if kind and fact.differs
    ]
    return sorted((one for one in told if not _is_nothing(one)), key=_importance)


def code_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """What differs between the code of two runs: commit, uncommitted changes, files that no commit holds.

    Args:
        before: Columns of the table ``code``.
        now: The same of the other one.
    """
    if not before or not now:
        return []
    sides = before, now
    changes = [code.get("diff") or None for code in sides]
    unrecorded = [bool(code.get("dirty")) and not change for code, change in zip(sides, changes, strict=True)]
    told = [_NOT_RECORDED if lost else _lines(diff) for lost, diff in zip(unrecorded, changes, strict=True)]
    if all(unrecorded) or (changes[0] != changes[1] and told[0] == told[1]):
        told[1] = f"{told[1]}, perhaps others" if all(unrecorded) else f"{told[1]}, others"
    hashes = [
        {
            **{row["path"]: row["sha256"] for row in code.get("untracked") or []},
            str(now.get("entry_point")): code.get("entry_point_hash"),
        }
        for code in sides
    ]
    return [
        *_of_mappings("commit", *({"commit": code.get("commit")} for code in (before, now))),
        *_of_mappings("unknown" if any(unrecorded) else "diff", *({"uncommitted changes": words} for words in told)),
        *_of_mappings("file", *hashes),
    ]


def data_differences(
    before: Sequence[Use], now: Sequence[Use], *, samples: CompareSamples | None = None
) -> list[Difference]:
    """What differs between the data of two runs, each data set beside the one that stands in its place.

    Fingerprints that were made in different ways are not compared: then it is only said that this is not known, unless
    the samples tell.

    Args:
        before: The data sets of one run.
        now: Those of the other one.
        samples: Compares the samples of two data sets, such as `Manifests.compare`; None to leave that out.
    """
    ours, theirs = placed_uses([[{**use.facts, "relation": use.relation} for use in uses] for uses in (before, now)])
    places = sorted(ours.keys() | theirs.keys())
    found = [_of_use(where, ours.get(where), theirs.get(where), samples) for where in places]
    return [one for group in found for one in group]


def setting_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """What differs between two pipelines and their settings.

    Args:
        before: Columns of the tables ``pipelines`` and ``pipeline_configs``.
        now: The same of the other one.
    """
    if not before or not now:
        return []
    return [
        *_of_mappings("setting", *(_columns(row, _WHOLE) for row in (before, now))),
        *_of_mappings("setting", *map(_settings, (before, now)), nested=True),
    ]


def _settings(pipeline: Mapping[str, Any]) -> dict[str, Any]:
    # Which loggers and bars watch it decides nothing.
    trainer = {k: v for k, v in (pipeline.get("trainer") or {}).items() if k not in {"loggers", "callbacks"}}
    return {**_columns(pipeline, ("hparams", "optimizers", "schedulers")), "trainer": trainer}


def _of_use(where: str, before: Row | None, now: Row | None, samples: CompareSamples | None) -> list[Difference]:
    if before is None or now is None:
        names = [None if use is None else use.get("dataset") or use.get("dataset_id") for use in (before, now)]
        return [Difference("content", f"{where}: data set", *names)]
    title = f"{where}: {now.get('dataset')} "
    found = [
        *_of_content(before, now, samples),
        *_of_mappings("configuration", _columns(before, _CONFIGURATION), _columns(now, _CONFIGURATION)),
    ]
    return [one._replace(name=title + one.name) for one in found]


def _of_content(before: Row, now: Row, samples: CompareSamples | None) -> list[Difference]:
    methods = before.get("fingerprint_method"), now.get("fingerprint_method")
    comparable = methods[0] == methods[1]
    columns = (*_SEEN, *(_BY_METHOD if comparable else ()))
    if not comparable:
        columns = tuple(name for name in columns if None not in (before.get(name), now.get(name)))
    found = _of_mappings("content", _columns(before, columns), _columns(now, columns))
    if comparable and not found:
        return []
    changes = None if samples is None else samples(*map(_as_data_set, (before, now)))
    if isinstance(changes, SampleChanges):
        of_samples = _of_samples(changes)
        # Hashes of the samples tell what fingerprints of two methods cannot.
        return found + ([] if of_samples is None else [of_samples])
    unknown = Difference("unknown", "content, as it was looked at in other ways", *methods)
    return found if comparable or found else [unknown]


def _as_data_set(use: Row) -> Row:
    return {**use, "n_samples": use.get("dataset_samples")}


def _of_samples(changes: SampleChanges) -> Difference | None:
    """The samples that came and went, None where all are the same in the same order."""
    sides = [
        [_counted(changes.removed, "gone", changes.examples_removed, changes)],
        [
            _counted(changes.added, "new", changes.examples_added, changes),
            _counted(changes.changed, "changed", changes.examples_changed, changes),
            None if changes.in_order else "in another order",
        ],
    ]
    before, now = (", ".join(filter(None, words)) for words in sides)
    if not before and not now:
        return None
    return Difference("content", "samples", f"{before or 'none gone'}, {changes.kept} kept", now or "none new")


def _counted(count: int, word: str, examples: Sequence[str | int], changes: SampleChanges) -> str | None:
    if not count:
        return None
    rows = "" if changes.known_by == "path" else "row " if len(examples) == 1 else "rows "
    more = " …" if count > len(examples) else ""
    return f"{count} {word} ({rows}{', '.join(map(str, examples))}{more})"


def _of_mappings(
    kind: str, before: Mapping[str, Any], now: Mapping[str, Any], *, nested: bool = False
) -> list[Difference]:
    found = [_difference(kind, fact) for fact in differences([_known(before), _known(now)], nested=nested)]
    return [one for one in found if not _is_nothing(one)]


def _difference(kind: str, fact: Fact) -> Difference:
    return Difference(kind, fact.key, *(None if value is MISSING else value for value in fact.values))


def _is_nothing(difference: Difference) -> bool:
    """Whether a null stands against no key, which says as little."""
    return difference.before is None and difference.now is None


def _known(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


def _columns(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: row.get(name) for name in names}


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
