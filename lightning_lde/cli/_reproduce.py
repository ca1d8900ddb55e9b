"""The subcommand that runs a run again and says whether the same came out."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lightning_lde.cli._arguments import open_lake, split_words, storage_options
from lightning_lde.cli._output import print_json, text

if TYPE_CHECKING:
    from lightning_lde.reproduce import Cause, Outcome, Plan

_SHOWN = 12
_WIDTH = 100
# Of the plan: what the lake says of the run itself, and names that it has pseudonyms for.
_NOT_SHOWN = {"recorded", "names"}


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[URL] RUN")
@click.option(
    "--env",
    "environment",
    type=click.Choice(("reuse", "venv")),
    default="reuse",
    show_default=True,
    help="Run it with this Python, or build an environment with the recorded versions.",
)
@click.option(
    "--repository",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Repository with the commit; without it the one around the working directory.",
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Empty folder for code and output, which is kept; without it a temporary one.",
)
@click.option("--link", "links", multiple=True, metavar="PATH", help="Path below the repository to link in; repeat it.")
@click.option(
    "--threads",
    type=click.Choice(("recorded", "here")),
    default="recorded",
    show_default=True,
    help="Number of threads: as it was, or as it is here.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--tolerance", type=click.FloatRange(min=0), default=1e-6, show_default=True, help="Relative difference.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds after which the program is ended."
)
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
@storage_options
def reproduce(
    words: tuple[str, ...],
    environment: str,
    repository: Path | None,
    folder: Path | None,
    links: tuple[str, ...],
    threads: str,
    dry_run: bool,
    yes: bool,
    tolerance: float,
    timeout: float | None,
    form: str,
    options: tuple[str, ...],
) -> None:
    """Run RUN again as it was, and say whether the same came out.

    Shows what will be run and asks first. Exit code 0: identical or within tolerance, 1: not, 2: an error.
    """
    from lightning_lde.reproduce import plan_reproduction

    url, run = split_words(words, "RUN")
    lake = open_lake(url, options)
    plan = plan_reproduction(
        lake, run, repository=repository, environment=environment, keep_threads=threads == "here", links=links
    )
    _print_plan(plan, folder, aside=form == "json")
    if dry_run:
        if form == "json":
            print_json({"plan": _plan_facts(plan)})
        sys.exit(2 if plan.obstacles else 0)
    if not plan.obstacles and not yes:
        click.confirm("run it?", abort=True, err=True)
    outcome = _run(lake, plan, folder, timeout_s=timeout, tolerance=tolerance)
    if form == "json":
        print_json({"plan": _plan_facts(plan), "outcome": _outcome_facts(outcome)})
    else:
        _print_outcome(plan, outcome)
    sys.exit(0 if outcome.verdict.word in {"identical", "within tolerance"} else 1)


def _run(lake: Any, plan: Plan, folder: Path | None, **options: Any) -> Outcome:
    from lightning_lde.reproduce import reproduce as run_again

    if folder is not None:
        return run_again(lake, plan, folder.absolute(), **options)
    # Kept where it fails: the output in it says why.
    temporary = Path(tempfile.mkdtemp(prefix="lde-reproduce-"))
    outcome = run_again(lake, plan, temporary, **options)
    if not outcome.exit_code:
        shutil.rmtree(temporary, ignore_errors=True)
    return outcome


def _print_plan(plan: Plan, folder: Path | None, *, aside: bool) -> None:
    run = plan.recorded.run
    name = f" {text(run['name'])}" if run["name"] else ""
    click.echo(f"run {run['run_id']}{name}  {run['status']}", err=aside)
    changed = [f"{name}={value}" for name, value in sorted(plan.variables.items())]
    changed += [f"without {name}" for name in plan.unset]
    lines = [
        ("code", plan.code_words),
        ("folder", f"{folder or 'a temporary one'}/code, started in {plan.directory}"),
        ("command", plan.command),
        ("environment", "this one" if plan.environment == "reuse" else _venv_words(plan)),
        *_pip_lines(plan),
        *[("differs", str(one)) for one in plan.differences[:_SHOWN]],
        *[("", f"and {len(plan.differences) - _SHOWN} more")][: len(plan.differences) > _SHOWN],
        ("variables", ", ".join(changed) or "as they are"),
        ("threads", "as they are here" if plan.threads is None else f"{plan.threads} of torch"),
        ("seeds", plan.seed_words),
        ("data", _data_words(plan)),
        *[("", words) for words in plan.data],
        *[("linked", link) for link in plan.links],
        ("lake", f"{plan.lake}, as a new run with a link to this one"),
        *[("note", note) for note in plan.notes],
        *[("cannot", obstacle) for obstacle in plan.obstacles],
    ]
    for title, value in lines:
        click.echo(f"  {title:<11}  {text(value)}", err=aside)


def _venv_words(plan: Plan) -> str:
    return f"a new one with {plan.recorded.environment.get('python')} and {len(plan.packages)} packages by pip"


def _pip_lines(plan: Plan) -> list[tuple[str, str]]:
    """What pip will be told, word for word."""
    from lightning_lde.reproduce import PIP

    if not plan.packages:
        return []
    command = shlex.join(["python", *PIP])
    wishes = " ".join(f"{name}=={version}" for name, version in plan.packages.items())
    lines = textwrap.wrap(wishes, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [("pip", command), *(("", f"  {line}") for line in lines)]


def _data_words(plan: Plan) -> str:
    names = [f"{use.facts['dataset']} ({use.facts['dataset_samples']} samples)" for use in plan.recorded.uses]
    return ", ".join(dict.fromkeys(names)) + "; fingerprints are compared when it has run" if names else "none known"


def _print_outcome(plan: Plan, outcome: Outcome) -> None:
    verdict = outcome.verdict
    click.echo(f"\n{verdict.sentence}: run {outcome.run_id} reproduces {plan.recorded.run['run_id']}")
    weights = {True: "equal", False: "different", None: "not known"}
    click.echo(
        f"  weights      {weights[verdict.weights_start]} at the start, {weights[verdict.weights_end]} at the end"
    )
    click.echo(f"  points       {verdict.n_points} compared, tolerance {verdict.tolerance:g}")
    for metric in verdict.metrics:
        where = "" if metric.step is None else f" at step {metric.step}"
        equal = f"{metric.n_equal} of {metric.n_points} points equal"
        off = f", differs by {metric.largest_difference:.2g} at most" if metric.largest_difference else ""
        lost = f", {metric.n_missing} missing" if metric.n_missing else ""
        more = f", {metric.n_more} more" if metric.n_more else ""
        loader = "" if metric.dataloader_idx is None else f", loader {metric.dataloader_idx}"
        name = f"{metric.name} ({metric.context or 'no context'}{loader})"
        click.echo(f"  {text(name):<30}  {metric.verdict}{where}: {equal}{off}{lost}{more}")
    _print_data(plan, outcome)
    for note in outcome.notes:
        click.echo(f"  note: {text(note)}")
    if outcome.causes:
        click.echo("\nprobable causes, the most probable first")
        for number, cause in enumerate(outcome.causes, start=1):
            _print_cause(number, cause)


def _print_data(plan: Plan, outcome: Outcome) -> None:
    lines = [text(f"not known: {one}" if one.kind == "unknown" else one) for one in outcome.data]
    if not lines:
        lines = ["equal, as far as they were looked at" if plan.recorded.uses else "none known"]
    shown = [*lines[:_SHOWN], *([f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else [])]
    for title, line in zip(("data", *[""] * len(shown)), shown, strict=False):
        click.echo(f"  {title:<11}  {line}")


def _print_cause(number: int, cause: Cause) -> None:
    click.echo(f"  {number}. {cause.kind}: {text(cause.reason)}")
    for difference in cause.differences[:_SHOWN]:
        click.echo(f"       {text(difference)}")
    if len(cause.differences) > _SHOWN:
        click.echo(f"       and {len(cause.differences) - _SHOWN} more")


def _plan_facts(plan: Plan) -> dict[str, Any]:
    facts = {
        field.name: getattr(plan, field.name) for field in dataclasses.fields(plan) if field.name not in _NOT_SHOWN
    }
    facts["differences"] = [one._asdict() for one in plan.differences]
    return {"run_id": plan.recorded.run["run_id"], "command": plan.command, "code": plan.code_words, **facts}


def _outcome_facts(outcome: Outcome) -> dict[str, Any]:
    verdict = dataclasses.asdict(outcome.verdict)
    causes = [
        {**cause._asdict(), "differences": [one._asdict() for one in cause.differences]} for cause in outcome.causes
    ]
    return {
        "run_id": outcome.run_id,
        "verdict": {**verdict, "sentence": outcome.verdict.sentence},
        "causes": causes,
        "data": [one._asdict() for one in outcome.data],
        "notes": outcome.notes,
        "exit_code": outcome.exit_code,
    }
