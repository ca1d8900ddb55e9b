"""A plan as a Markdown document to fill in, with front matter that a program reads back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from statistics import fmean
from typing import Any

from lightning_lde.errors import DataError
from lightning_lde.study._plan import Criterion, StudyPlan

FORMAT = 1
_FRONT = re.compile(r"\A---\n(.*?\n)---\n", re.DOTALL)
_FILL = "> *Fill in:* "


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


def plan_page(plan: StudyPlan) -> str:
    """The plan as Markdown: front matter, tables, and places to fill in.

    Args:
        plan: The plan.
    """
    parts = [
        f"---\n{_front_matter(plan)}---",
        f"# Plan of the study {plan.project}",
        _FILL + "the question, in one sentence, and who needs the answer for what.",
        "## Data sets",
        _datasets(plan),
        _FILL + "why these; what other data sets would change the answer; who may use them.",
        "## Configurations",
        _configurations(plan),
        "## Repetitions",
        _repetitions(plan),
        "## Cost",
        _cost(plan),
        _FILL + "on which machines, by when, and what is given up if it takes longer.",
        "## Power",
        _power(plan),
        "## Success criteria",
        _criteria(plan.criteria),
        _FILL + "what is decided where a criterion is met, and what where it is not.",
        "## To beware of",
        "\n".join(f"- {note}" for note in plan.notes) or "Nothing was left out.",
        "## Afterwards",
        "`lde plan --check THIS_FILE [URL]` sets what was done beside what is planned here; it reads the front matter "
        "alone, which may be changed by hand.",
        "## Where the figures come from",
        "\n\n".join(f"{one.name}, {len(one.rows)} rows:\n\n```sql\n{one.sql}\n```" for one in plan.pilot.queries),
    ]
    return "\n\n".join(parts) + "\n"


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
    made_at = facts.get("made_at")
    return PlannedStudy(
        project=_text(facts, "project"),
        metric=_text(facts, "metric"),
        datasets=tuple(map(str, _listed(facts, "datasets"))),
        trainings=tuple(map(str, _listed(facts, "trainings"))),
        seeds=tuple(_whole(facts, "seeds", value) for value in _listed(facts, "seeds")),
        criteria=tuple(_criterion(one) for one in _listed(facts, "criteria")),
        made_at=_moment(made_at),
        settings=None if facts.get("settings") is None else str(facts["settings"]),
        hours=None if facts.get("hours") is None else _number("hours", facts["hours"]),
        lake=None if facts.get("lake") is None else str(facts["lake"]),
    )


def criterion_words(one: Criterion) -> str:
    """A criterion as a sentence."""
    limit, alpha = (f"{one.limit:g}" if one.limit is not None else "?"), one.alpha
    return {
        "complete": "every planned training is finished",
        "cost": f"the trainings took at most {limit} hours",
        "precision": f"half of the 95 % interval over seeds is at most {limit}, median over data sets and "
        "configurations",
        "difference": f"{one.configuration} less {one.baseline} is at least {limit} on average over data sets, "
        f"with p ≤ {alpha}",
        "correlation": f"{one.configuration or 'one configuration'} correlates with diversity over data sets, with p ≤ "
        f"{alpha} after Holm",
    }[one.kind]


def as_yaml(facts: dict[str, Any]) -> str:
    """Facts as YAML that is read back as it was; letters of all scripts stay readable where they can."""
    import yaml

    for readable in (True, False):
        text: str = yaml.safe_dump(facts, sort_keys=False, allow_unicode=readable, width=110)
        # PyYAML writes some ends of lines of Unicode bare, and reads them as blanks.
        if yaml.safe_load(text) == facts:
            break
    return text


def _front_matter(plan: StudyPlan) -> str:
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
    return as_yaml(facts)


def _datasets(plan: StudyPlan) -> str:
    pilot = plan.pilot
    rows = []
    for dataset in plan.datasets:
        runs = len({one.run_id for one in pilot.values if one.dataset == dataset})
        found = [pilot.seconds(dataset, training) for training in pilot.trainings]
        known = [one[0] for one in found if one is not None]
        seconds = f"{sum(known):.0f}" if len(known) == len(found) else "not known"
        rows.append((dataset, str(runs), seconds))
    return _table(("data set", "runs of the pilot", "seconds a seed, all trainings (medians)"), rows)


def _configurations(plan: StudyPlan) -> str:
    rows = []
    for name, training in plan.configurations.items():
        means, scatter = plan.pilot.means(name), plan.pilot.scatter(name)
        sd = "no seed was repeated" if scatter is None else f"{scatter.sd:.4f} [{scatter.low:.4f}, {scatter.high:.4f}]"
        rows.append((name, training, f"{fmean(means.values()):.4f}", str(len(means)), sd))
    head = ("configuration", "training", f"mean {plan.pilot.metric}", "data sets", "sd over seeds, 95 % interval")
    return _table(head, rows)


def _repetitions(plan: StudyPlan) -> str:
    found = plan.scatter
    if found is None:
        return "Nothing is known of the scatter over seeds."
    said = (
        f"Seeds scatter with a standard deviation of {found.sd:.4f} [{found.low:.4f}, {found.high:.4f}] "
        f"({found.n} values in {found.n_cells} cells of data set and configuration, {found.degrees_of_freedom} degrees "
        "of freedom)."
    )
    if plan.required_seeds is not None:
        said += (
            f" On a single data set a difference of {plan.smallest:g} is found with {plan.power:.0%} power by "
            f"{plan.required_seeds} seeds of each configuration."
        )
    return f"{said}\n\nPlanned: **{len(plan.seeds)} seeds**, {', '.join(map(str, plan.seeds))}."


def _cost(plan: StudyPlan) -> str:
    count = len(plan.datasets) * len(plan.trainings) * len(plan.seeds)
    parts = f"{len(plan.datasets)} data sets × {len(plan.trainings)} trainings × {len(plan.seeds)} seeds"
    said = f"{count} trainings: {parts}."
    if plan.hours is None or plan.wall_hours is None:
        return f"{said} How long they take is not known."
    timed = sum(len(seconds) for seconds in plan.pilot.durations.values())
    return (
        f"{said}\n\n**{plan.hours:.2f} hours** of training by the medians of {timed} past ones (by the shortest of "
        f"each {plan.hours_low:.2f}, by the longest {plan.hours_high:.2f}); {plan.wall_hours:.2f} hours with "
        f"{plan.jobs} at a time."
    )


def _power(plan: StudyPlan) -> str:
    parts = []
    if plan.pair is not None and plan.difference is not None:
        found = plan.difference
        parts.append(
            f"In the pilot {plan.pair[1]} less {plan.pair[0]} is {found.difference:+.4f} "
            f"[{found.low:+.4f}, {found.high:+.4f}] over {found.n} data sets, with a standard deviation of "
            f"{found.sd:.4f} between them.{_needed(plan)}"
        )
    rows = [
        (
            str(one.seeds) + (" (planned)" if one.seeds == len(plan.seeds) else ""),
            "" if one.detectable is None else f"{one.detectable:.4f}",
            "" if one.over_datasets is None else f"{one.over_datasets:.2f}",
            "" if one.hours is None else f"{one.hours:.2f}",
        )
        for one in plan.at_seeds
    ]
    head = (
        "seeds",
        f"difference found on one data set with {plan.power:.0%} power",
        f"power for {plan.smallest:g} over {len(plan.datasets)} data sets",
        "hours",
    )
    parts.append(_table(head, rows))
    chance = (
        "cannot be tested" if plan.correlation_power is None else f"is found in {plan.correlation_power:.0%} of cases"
    )
    parts.append(
        f"A true correlation of {plan.r:g} between the metric and diversity {chance} with {len(plan.datasets)} data "
        f"sets (level {plan.alpha:g}, two-sided, before any correction); {plan.power:.0%} power needs "
        f"{plan.correlation_datasets}. Seeds do not help there, data sets do."
    )
    return "\n\n".join(parts)


def _needed(plan: StudyPlan) -> str:
    if plan.required_datasets is None:
        return ""
    return (
        f" A difference of {plan.smallest:g} needs {plan.required_datasets} data sets for {plan.power:.0%} power with "
        f"{len(plan.seeds)} seeds."
    )


def _criteria(criteria: Sequence[Criterion]) -> str:
    return _table(("criterion", "met where"), [(one.kind, criterion_words(one)) for one in criteria])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in lines
    )


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
    if not isinstance(value, datetime):
        return None
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
