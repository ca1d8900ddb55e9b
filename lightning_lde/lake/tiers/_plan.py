"""Decides by the rules of the tiers which files stay, go to the cold root, or away: a pure function over rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from lightning_lde.schema import RunStatus, Tier
from lightning_lde.tiering import Rule, RunFacts

MOVES = {"cold": Tier.COLD, "delete": Tier.DELETED}
"""The tier that a rule's target stands for."""


class FileKey(NamedTuple):
    """What tells files of runs apart: a path that was written again is another file."""

    run_id: str
    path: str
    object_id: str


@dataclass(frozen=True)
class HeldFile:
    """A file of a run.

    Attributes:
        key: Which one.
        recipe: What it is put together from, ``whole`` for one object.
        kind: Its kind, such as ``checkpoint``.
        size_bytes: Its size.
        stored_at: When it was stored, or last stored again.
        segment: The segment of the run that stored it.
        score: What a checkpoint was chosen by.
        tier: Where it is, a word of `Tier`.
        placed_at: When it was brought there, None where it was stored there.
    """

    key: FileKey
    recipe: str
    kind: str
    size_bytes: int
    stored_at: datetime
    segment: int = 0
    score: float | None = None
    tier: str = Tier.HOT
    placed_at: datetime | None = None


@dataclass(frozen=True)
class RunState:
    """What the rules ask about a run.

    Attributes:
        facts: Project, present status, tags.
        quiet_since: When it ended, or was last heard of.
        mode: Whether its best checkpoint has the ``min`` or the ``max`` score, None where that is not known.
    """

    facts: RunFacts
    quiet_since: datetime
    mode: str | None = None


@dataclass(frozen=True)
class Decision:
    """What becomes of a file.

    Attributes:
        file: The file.
        to: The tier that it shall be in.
        rule: Number of the rule that decided, counted from one; None where none did.
        why: In words.
    """

    file: HeldFile
    to: str
    rule: int | None
    why: str

    @property
    def is_move(self) -> bool:
        """Whether anything is to be done."""
        return self.to != self.file.tier


def decide(
    files: Iterable[HeldFile], runs: Mapping[str, RunState], rules: Sequence[Rule], *, now: datetime
) -> list[Decision]:
    """Decide for each file; those that were deleted are left out.

    The first rule that means a file decides. What a rule keeps is left to the rules after it. A file that is in the
    cold root never comes back by a rule.

    Args:
        files: All files of each run that has any: what is best and last is seen among them.
        runs: The present state of runs by id.
        rules: In their order.
        now: The present moment.
    """
    decisions: list[Decision] = []
    for run_id, own in _by_run(file for file in files if file.tier != Tier.DELETED).items():
        state = runs.get(run_id)
        if state is None:
            decisions += (Decision(file, file.tier, None, "its run is not known") for file in own)
        elif state.facts.status == RunStatus.RUNNING:
            decisions += (Decision(file, file.tier, None, "its run is at work") for file in own)
        else:
            decisions += _of_run(own, state, rules, now)
    return decisions


def _of_run(files: Sequence[HeldFile], state: RunState, rules: Sequence[Rule], now: datetime) -> Iterator[Decision]:
    kept = [_kept(rule, files, state) for rule in rules]
    for file in files:
        age = now - max(state.quiet_since, file.stored_at, _restored_at(file))
        spared = ""
        for number, rule in enumerate(rules, 1):
            if not rule.means(file.kind, state.facts, age):
                continue
            if why := kept[number - 1].get(file.key):
                spared = f"rule {number} keeps it: {why}"
                continue
            to = MOVES.get(rule.to, file.tier)
            yield Decision(file, to, number, f"rule {number}: {rule}")
            break
        else:
            yield Decision(file, file.tier, None, spared or "no rule means it")


def _restored_at(file: HeldFile) -> datetime:
    """A file that was brought back is as new as on the day when it was stored."""
    is_back = file.tier == Tier.HOT and file.placed_at is not None
    return file.placed_at if is_back and file.placed_at is not None else file.stored_at


def _kept(rule: Rule, files: Sequence[HeldFile], state: RunState) -> dict[FileKey, str]:
    """The files of a run that a rule keeps, and what they are; of all the run's files of the rule's kinds."""
    anyone = replace(rule, project=(), status=(), tag=())
    own = [file for file in files if anyone.means(file.kind, state.facts, rule.older_than)]
    if not own or not rule.keep:
        return {}
    last = max(own, key=lambda file: (file.segment, file.stored_at, file.key))
    found = {last.key: "it is the run's last"} if "last" in rule.keep else {}
    if "best" in rule.keep:
        found |= {file.key: "it is the run's best" for file in _best(own, state.mode) or [last]}
    return found


def _best(files: Sequence[HeldFile], mode: str | None) -> list[HeldFile]:
    """Files with the best score; with the highest and with the lowest where it is not known which is better."""
    scored = [(file.score, file) for file in files if file.score is not None and not math.isnan(file.score)]
    ends: list[Callable[..., float]] = {"min": [min], "max": [max]}.get(mode or "", [min, max])  # type: ignore[assignment]
    wanted = {end(score for score, _ in scored) for end in ends} if scored else set()
    return [file for score, file in scored if score in wanted]


def _by_run(files: Iterable[HeldFile]) -> dict[str, list[HeldFile]]:
    found: dict[str, list[HeldFile]] = {}
    for file in files:
        found.setdefault(file.key.run_id, []).append(file)
    return found
