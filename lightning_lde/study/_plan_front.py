"""The front matter of a plan: written for people to change, and read back with every wrong thing named."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from typing import Any

from lightning_lde.errors import DataError
from lightning_lde.study._plan import Criterion, StudyPlan

FORMAT = 1
_FRONT = re.compile(r"\A---\n(.*?\n)---\n", re.DOTALL)


@dataclass(frozen=True)
class PlannedStudy:
    """What the front matter of a plan says, with what was changed by hand.

    Attributes:
        project: Project of the study.
        metric: The metric.
        datasets: Names of the data sets.
        trainings: What is trained on each.
        seeds: Seeds of each training.
        criteria: When the study has succeeded.
        made_at: When the plan was made.
        settings: Id of the study's settings; None where it has none.
        hours: Planned hours of training; None where not known.
        lake: The lake's address, None where it is not said.
    """

    project: str
    metric: str
    datasets: tuple[str, ...]
    trainings: tuple[str, ...]
    seeds: tuple[int, ...]
    criteria: tuple[Criterion, ...]
    made_at: datetime | None = None
    settings: str | None = None
    hours: float | None = None
    lake: str | None = None


def read_plan(text: str) -> PlannedStudy:
    """Read the front matter of a plan.

    Args:
        text: The document.

    Raises:
        DataError: If there is none, or something in it has not the expected form.
    """
    import yaml

    # An editor of Windows writes other ends of lines, and some put a mark in front.
    found = _FRONT.match(text.lstrip("\ufeff").replace("\r\n", "\n"))
    if found is None:
        raise DataError("the plan has no front matter: its first line must be ---, as `lde plan -o` writes it")
    try:
        facts = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        raise DataError(f"the plan's front matter is no YAML ({' '.join(str(error).split())})") from error
    if not isinstance(facts, dict) or facts.get("lde_plan") != FORMAT:
        raise DataError(f"the plan's front matter lacks lde_plan: {FORMAT}, expected what `lde plan -o` writes")
    return PlannedStudy(
        project=_text(facts, "project"),
        metric=_text(facts, "metric"),
        datasets=tuple(map(str, _listed(facts, "datasets"))),
        trainings=tuple(map(str, _listed(facts, "trainings"))),
        seeds=tuple(_whole(facts, "seeds", value) for value in _listed(facts, "seeds")),
        criteria=tuple(_criterion(one) for one in _listed(facts, "criteria")),
        made_at=_moment(facts.get("made_at")),
        settings=None if facts.get("settings") is None else str(facts["settings"]),
        hours=None if facts.get("hours") is None else _number("hours", facts["hours"]),
        lake=None if facts.get("lake") is None else str(facts["lake"]),
    )


def as_yaml(facts: dict[str, Any]) -> str:
    """Facts as YAML that is read back as it was; letters of all scripts stay readable where they can."""
    import yaml

    for readable in (True, False):
        text: str = yaml.safe_dump(facts, sort_keys=False, allow_unicode=readable, width=110)
        # PyYAML writes some ends of lines of Unicode bare, and reads them as blanks.
        if yaml.safe_load(text) == facts:
            break
    return text


def front_matter(plan: StudyPlan) -> str:
    """What a program needs of a plan, as YAML between two lines of dashes."""
    facts: dict[str, Any] = {
        "lde_plan": FORMAT,
        "project": plan.project,
        "lake": plan.lake,
        "made_at": plan.made_at,
        "metric": plan.pilot.metric,
        "settings": plan.pilot.settings_id,
        "datasets": list(plan.datasets),
        "trainings": list(plan.trainings),
        "seeds": list(plan.seeds),
        "hours": None if plan.hours is None else round(plan.hours, 2),
        "criteria": [{key: value for key, value in asdict(one).items() if value is not None} for one in plan.criteria],
    }
    return f"---\n{as_yaml(facts)}---\n"


def _text(facts: dict[str, Any], name: str) -> str:
    if not isinstance(facts.get(name), str) or not facts[name]:
        raise DataError(f"the plan's {name} is {facts.get(name)!r}, expected a word")
    return str(facts[name])


def _listed(facts: dict[str, Any], name: str) -> list[Any]:
    found = facts.get(name)
    if not isinstance(found, list) or not found:
        raise DataError(f"the plan's {name} are {found!r}, expected a list of at least one")
    return found


def _moment(value: Any) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise DataError(f"the plan's made_at is {str(value)!r}, expected a time such as 2026-11-26 16:42:12+00:00")
    return value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)


def _whole(facts: dict[str, Any], name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise DataError(f"the plan's {name} hold {value!r}, expected whole numbers")
    return value


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DataError(f"the plan's {name} is {value!r}, expected a number")
    return float(value)


_NEEDED = {"cost": ("limit",), "precision": ("limit",), "difference": ("limit", "alpha", "configuration", "baseline")}
_NEEDED["correlation"] = ("alpha",)


def _criterion(facts: Any) -> Criterion:
    if not isinstance(facts, dict) or not set(facts) <= {one.name for one in fields(Criterion)} or "kind" not in facts:
        names = ", ".join(one.name for one in fields(Criterion))
        raise DataError(f"a criterion of the plan is {facts!r}, expected some of {names}")
    for name in _NEEDED.get(str(facts["kind"]), ()):
        if facts.get(name) is None:
            raise DataError(f"the plan's criterion {facts['kind']!r} lacks {name}")
    for name in ("limit", "alpha"):
        if facts.get(name) is not None:
            _number(f"{facts['kind']}.{name}", facts[name])
    return Criterion(**{str(name): value for name, value in facts.items()})
