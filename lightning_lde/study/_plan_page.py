"""A plan as a Markdown document to fill in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean

from lightning_lde.study._plan import Criterion, StudyPlan
from lightning_lde.study._plan_front import front_matter

_FILL = "> *Fill in:* "


def plan_page(plan: StudyPlan) -> str:
    """The plan as Markdown: front matter, tables, and places to fill in.

    Args:
        plan: The plan.
    """
    parts = [
        front_matter(plan).rstrip("\n"),
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
    front, *body = parts
    return "\n\n".join([front, *map(_visible, body)]) + "\n"


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


def _visible(part: str) -> str:
    # A name could hold codes that a terminal obeys; YAML escapes them, and is read back.
    return "".join(char if char.isprintable() or char == "\n" else " " for char in part)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in lines
    )
