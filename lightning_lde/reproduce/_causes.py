"""Why a reproduction did not give the same: what differs, the most probable first, each with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lightning_lde.reproduce._differences import (
    CompareSamples,
    Difference,
    code_differences,
    data_differences,
    environment_differences,
    setting_differences,
)
from lightning_lde.reproduce._facts import Recorded
from lightning_lde.reproduce._verdict import DIVERGED, IDENTICAL, Verdict

ROUNDING = 1e-4
"""A first difference below it looks like another order of additions, not like other numbers."""

_NUMERIC = ("torch", "lightning", "numpy", "cuda", "cudnn", "cublas", "nvidia", "mkl", "triton", "timm", "transformers")
_MOST_SHOWN = 8


class Cause(NamedTuple):
    """A reason why two runs may differ.

    Attributes:
        kind: ``"data"``, ``"code"``, ``"settings"``, ``"packages"``, ``"threads"``, ``"hardware"``,
            ``"determinism"``, ``"python"``, ``"variables"``, ``"system"``, ``"start weights"``, ``"metrics"`` or
            ``"randomness"``.
        weight: From 0 to 100; larger is more probable. Of the ranking, not a probability.
        reason: Why it is named.
        differences: What differs.
    """

    kind: str
    weight: int
    reason: str
    differences: tuple[Difference, ...] = ()


def probable_causes(
    before: Recorded, now: Recorded, verdict: Verdict, *, samples: CompareSamples | None = None
) -> list[Cause]:
    """What differs between a run and its reproduction, the most probable cause first.

    Changed data, code or settings come first, since they explain any difference. Versions, threads and hardware
    explain small ones at first; random numbers that nobody seeded explain large ones from the first step on.

    Args:
        before: The run.
        now: Its reproduction.
        verdict: How they compare.
        samples: Compares the samples of two data sets; None to leave that out.

    Returns:
        The causes; empty where the two are identical.
    """
    if verdict.word == IDENTICAL:
        return []
    found = [*_of_inputs(before, now, samples), *_of_place(before, now, verdict), *_of_outcome(before, now, verdict)]
    found += _of_chance(before, now, verdict, found)
    return sorted(found, key=lambda cause: -cause.weight)


def _of_inputs(before: Recorded, now: Recorded, samples: CompareSamples | None) -> Iterator[Cause]:
    data, unknown = _parted(data_differences(before.uses, now.uses, samples=samples))
    if unknown:
        yield Cause("data", 15, "not known whether the data is the same", tuple(unknown))
    if data:
        only_workers = all(one.name.endswith((" num_workers", " settings")) for one in data)
        reason = "the data are loaded in another way" if only_workers else "the data, or how they are used, changed"
        yield Cause("data", 60 if only_workers else 100, reason, tuple(data))
    code, unknown = _parted(code_differences(before.code, now.code))
    if unknown:
        yield Cause("code", 65, "not known whether the code is the same", tuple(unknown))
    if code:
        yield Cause("code", 95, "the code is not the same", tuple(code))
    settings = setting_differences(before.pipeline, now.pipeline)
    if settings:
        # Where the code differs too, the settings follow from it.
        yield Cause("settings", 92, "the settings are not the same", tuple(settings))


def _parted(differences: list[Difference]) -> tuple[list[Difference], list[Difference]]:
    """What differs, and what may differ."""
    return [one for one in differences if one.kind != "unknown"], [one for one in differences if one.kind == "unknown"]


def _of_place(before: Recorded, now: Recorded, verdict: Verdict) -> Iterator[Cause]:
    differences = environment_differences(before.environment, now.environment)
    small = verdict.first_difference < ROUNDING
    later = " (the first difference is as small as one of rounding)" if small else ""
    packages = [one for one in differences if one.kind == "package"]
    if packages:
        main = [one for one in packages if any(word in one.name for word in _NUMERIC)]
        weight = 90 if any(one.name == "torch" for one in packages) else 82 if main else 68
        if not main and all(None in (one.before, one.now) for one in packages):
            # The program ran without it once.
            yield Cause("packages", 35, "packages came or went", tuple(packages))
        else:
            yield Cause("packages", weight, "other versions of packages", tuple(packages))
    for kind, weight_if_small, weight, reason in (
        ("threads", 80, 50, "another number of threads adds in another order"),
        ("hardware", 70, 48, "other hardware computes in another order"),
        ("determinism", 76, 56, "other flags of determinism"),
        ("python", 58, 58, "another Python"),
        ("variable", 57, 47, "other environment variables"),
        ("system", 30, 20, "another operating system"),
    ):
        of_kind = [one for one in differences if one.kind == kind]
        if of_kind and kind == "hardware" and all(one.name == "memory_bytes" for one in of_kind):
            weight_if_small = weight = 10
        if of_kind:
            name = "variables" if kind == "variable" else kind
            yield Cause(name, weight_if_small if small else weight, reason + later, tuple(of_kind))


def _of_outcome(before: Recorded, now: Recorded, verdict: Verdict) -> Iterator[Cause]:
    if verdict.weights_end and verdict.word == DIVERGED:
        names = [metric.name for metric in verdict.metrics if metric.verdict == DIVERGED]
        reason = f"the weights at the end are the same, so training was: {_listed(names)} depends on something else, "
        yield Cause("metrics", 99, reason + "such as time or random numbers of its own")
    if verdict.weights_start is False:
        seeded = before.run["seeds"].get("seeded_by")
        how = f"seeded by {seeded}, but" if seeded else "unseeded:"
        reason = (
            f"the weights differ before the first step; {how} what was drawn before the run began cannot be restored"
        )
        yield Cause("start weights", 85, reason)


def _of_chance(before: Recorded, now: Recorded, verdict: Verdict, others: list[Cause]) -> Iterator[Cause]:
    if verdict.word != DIVERGED or verdict.weights_end:
        return
    strong = [cause for cause in others if cause.weight > 40]
    seeded = before.run["seeds"].get("seeded_by")
    facts = [f"seeded by {seeded}" if seeded else "the program sets no seed that is known"]
    if not strong:
        data = "" if any(cause.kind == "data" for cause in others) else "data, "
        facts.append(f"{data}code, packages, threads, hardware and the first weights are equal")
    if transforms := sorted({str(use.facts["transforms"]) for use in before.uses if use.facts.get("transforms")}):
        facts.append(f"transforms: {_listed(transforms)}")
    if any(use.facts.get("num_workers") for use in before.uses):
        facts.append("loaders have workers, with random generators of their own")
    if "PYTHONHASHSEED" not in (before.environment.get("variables") or {}):
        facts.append("PYTHONHASHSEED was not set, so sets of words come in another order")
    gpus = bool(before.environment.get("gpus")) and not before.environment.get("determinism", {}).get(
        "torch.use_deterministic_algorithms"
    )
    if gpus:
        facts.append("a GPU without deterministic algorithms")
    reason = "random numbers that no seed reaches, such as a generator that augmentation makes for itself: "
    weight = 88 if not strong else 45 if verdict.first_difference < ROUNDING and not gpus else 54
    yield Cause("randomness", weight, reason + "; ".join(facts))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(names[:_MOST_SHOWN]) + more
