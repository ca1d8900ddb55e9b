"""What was done beside what was planned: trainings, seeds, cost, and each criterion by the lake's figures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

from lightning_lde.errors import DataError
from lightning_lde.query import Lake
from lightning_lde.schema import RunStatus
from lightning_lde.statistics import mean_interval
from lightning_lde.study._answer import StudyAnalysis
from lightning_lde.study._correlation import analyse
from lightning_lde.study._plan import Criterion
from lightning_lde.study._plan_front import PlannedStudy
from lightning_lde.study._plan_page import criterion_words
from lightning_lde.study._plan_pilot import Pilot, read_pilot
from lightning_lde.study._queries import QueryResult, ask, quoted


@dataclass(frozen=True)
class CriterionResult:
    """Whether a criterion is met.

    Attributes:
        kind: Its kind.
        criterion: It in words.
        met: Whether; None where the lake cannot say.
        figure: What the lake says, in words with n and interval.
    """

    kind: str
    criterion: str
    met: bool | None
    figure: str


@dataclass(frozen=True)
class PlanCheck:
    """A plan beside what was done.

    Attributes:
        project: The project.
        planned: Trainings that were planned.
        finished: Planned ones that are finished.
        missing: Planned ones that are not, as data set, training and seed.
        failed: Those of them whose newest run failed.
        unplanned: Finished ones that were not planned.
        early: Finished planned ones that began before the plan was made.
        hours: Hours that finished planned trainings took.
        planned_hours: Hours that were planned; None where they were not known.
        results: Each criterion.
        queries: What was asked of the lake.
    """

    project: str
    planned: int
    finished: int
    missing: tuple[str, ...]
    failed: tuple[str, ...]
    unplanned: tuple[str, ...]
    early: int
    hours: float
    planned_hours: float | None
    results: tuple[CriterionResult, ...]
    queries: tuple[QueryResult, ...]

    @property
    def is_met(self) -> bool:
        """Whether every criterion is met."""
        return all(one.met for one in self.results)


def check_plan(lake: Lake, plan: PlannedStudy) -> PlanCheck:
    """Compare a plan with what a lake holds.

    Args:
        lake: The lake.
        plan: The plan.
    """
    runs = ask(lake, "trainings of the project", _runs_sql(plan))
    wanted = {f"{d}/{t}/seed {s}" for d in plan.datasets for t in plan.trainings for s in plan.seeds}
    done = {row["cell"]: row for row in runs.rows if row["status"] == RunStatus.FINISHED}
    failed = {row["cell"] for row in runs.rows if row["status"] == RunStatus.FAILED}
    kept = [row for cell, row in done.items() if cell in wanted]
    hours = math.fsum(row["duration_s"] or 0.0 for row in kept) / 3600
    try:
        found: Pilot | None = read_pilot(lake, project=plan.project, metric=plan.metric, settings_id=plan.settings)
        reason = ""
    except DataError as error:
        found, reason = None, str(error)
    missing = sorted(wanted - done.keys())
    analysis, why = _analysis(lake, plan)
    judge = _Judge(_of_plan(found, plan), reason, analysis, why, len(wanted), len(missing), hours)
    return PlanCheck(
        project=plan.project,
        planned=len(wanted),
        finished=len(kept),
        missing=tuple(missing),
        failed=tuple(sorted(failed & set(missing))),
        unplanned=tuple(sorted(done.keys() - wanted)),
        early=0 if plan.made_at is None else sum(row["started_at"] < plan.made_at for row in kept),
        hours=hours,
        planned_hours=plan.hours,
        results=tuple(judge.result(one) for one in plan.criteria),
        queries=(
            runs,
            *(() if found is None else found.queries),
            *(() if analysis is None else analysis.queries),
        ),
    )


@dataclass(frozen=True)
class _Judge:
    done: Pilot | None
    reason: str
    analysis: StudyAnalysis | None
    why: str
    planned: int
    missing: int
    hours: float

    def result(self, one: Criterion) -> CriterionResult:
        met, figure = getattr(self, one.kind)(one)
        return CriterionResult(one.kind, criterion_words(one), met, figure)

    def complete(self, one: Criterion) -> tuple[bool | None, str]:
        return not self.missing, f"{self.planned - self.missing} of {self.planned} are finished"

    def cost(self, one: Criterion) -> tuple[bool | None, str]:
        limit = one.limit or 0.0
        said = f"{self.hours:.2f} hours so far"
        # What is not trained yet costs too: only a limit that is passed already is certain before the end.
        return (None if self.missing and self.hours <= limit else self.hours <= limit), said

    def precision(self, one: Criterion) -> tuple[bool | None, str]:
        if self.done is None:
            return None, self.reason
        several = [list(seeds.values()) for seeds in self.done.cells().values() if len(seeds) > 1]
        if not several:
            return None, "no data set and configuration has two seeds"
        halves = [found.high - found.mean for found in map(mean_interval, several)]
        half = median(halves)
        return half <= (one.limit or 0.0), f"{half:.4f}, median over {len(halves)} cells of two seeds or more"

    def difference(self, one: Criterion) -> tuple[bool | None, str]:
        if self.done is None:
            return None, self.reason
        found = self.done.difference(str(one.baseline), str(one.configuration))
        if found is None:
            return None, "fewer than two data sets have both configurations"
        said = (
            f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}], p {found.p_t:.2g}, "
            f"over {found.n} data sets"
        )
        return found.difference >= (one.limit or 0.0) and found.p_t <= (one.alpha or 0.0), said

    def correlation(self, one: Criterion) -> tuple[bool | None, str]:
        if self.analysis is None:
            return None, self.why
        methods = {_part(result.method, result.inner_steps, result.ways, result.shots): result
                   for result in self.analysis.configurations}  # fmt: skip
        results = list(methods.values()) if one.configuration is None else [methods.get(one.configuration)]
        found = [result for result in results if result is not None]
        if not found:
            return None, f"{one.configuration} has no correlation; there are: {'; '.join(methods)}"
        best = min(found, key=lambda result: result.p_holm)
        correlation = best.correlation
        said = (
            f"{best.label}: r {correlation.r:+.2f}, p {correlation.p_permutation:.2g}, after Holm {best.p_holm:.2g}, "
            f"over {correlation.n} data sets"
        )
        return best.p_holm <= (one.alpha or 0.0), said


def _analysis(lake: Lake, plan: PlannedStudy) -> tuple[StudyAnalysis | None, str]:
    """The study's correlations, where a criterion asks for them; or why there are none."""
    if all(one.kind != "correlation" for one in plan.criteria):
        return None, ""
    try:
        return analyse(lake, project=plan.project, metric=plan.metric, settings_id=plan.settings), ""
    except DataError as error:
        return None, str(error)


def _part(method: str, inner_steps: int | None, ways: int, shots: int) -> str:
    steps = "" if inner_steps is None else f", {inner_steps} steps"
    return f"{method}{steps}, {ways}-way {shots}-shot"


def _of_plan(found: Pilot | None, plan: PlannedStudy) -> Pilot | None:
    """What of the lake's values the plan asks for."""
    if found is None:
        return None
    seeds = {str(seed) for seed in plan.seeds}
    kept = tuple(
        one
        for one in found.values
        if one.dataset in plan.datasets and one.training in plan.trainings and one.seed in seeds
    )
    return Pilot(found.project, found.metric, found.settings_id, kept, found.durations, found.notes, found.queries)


def _runs_sql(plan: PlannedStudy) -> str:
    """The newest run of each training, a finished one where there is any; trainings are named as plans name them."""
    settings = "" if plan.settings is None else f" and r.tags->>'settings' = {quoted(plan.settings)}"
    return f"""\
with trained as (
    select r.seed, r.status, r.duration_s, r.started_at,
           coalesce(r.tags->>'dataset', d.name, 'unknown data') as dataset,
           coalesce(r.tags->>'algorithm', concat_ws(' ',
               coalesce(regexp_extract(p.module_class, '[^.]*$'), 'unknown pipeline'),
               left(r.pipeline_config_id, 8))) as training
    from runs r left join dataset_configs c using (dataset_config_id) left join datasets d using (dataset_id)
    left join pipeline_configs s using (pipeline_config_id) left join pipelines p using (pipeline_id)
    where r.project = {quoted(plan.project)} and r.seed is not null{settings})
select dataset || '/' || training || '/seed ' || seed as cell, status, duration_s, started_at
from trained
qualify row_number() over (partition by cell order by status = 'finished' desc, started_at desc) = 1
order by cell"""
