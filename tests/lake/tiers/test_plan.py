"""The plan of the tiers against an independent reading of the rules, and the cases that people will meet."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_lde.lake.tiers._plan import Decision, FileKey, HeldFile, RunState, decide
from lightning_lde.tiering import Rule, RunFacts

NOW = datetime(2026, 6, 1, tzinfo=timezone.utc)


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def held(path: str, *, days: float = 50, run: str = "r", kind: str = "checkpoint", **facts: object) -> HeldFile:
    return HeldFile(FileKey(run, path, f"object of {path}"), "whole", kind, 1, ago(days), **facts)  # type: ignore[arg-type]


def state(status: str = "finished", days: float = 50, mode: str | None = None, project: str = "p") -> RunState:
    return RunState(RunFacts(project, status, {"t": "1"}), ago(days), mode)


def moves(decisions: list[Decision]) -> dict[str, str]:
    return {one.file.key.path: one.to for one in decisions if one.is_move}


def plan(files: list[HeldFile], run: RunState, *rules: str) -> list[Decision]:
    return decide(files, {"r": run}, [Rule.parse(rule) for rule in rules], now=NOW)


SCORED = [
    held("a", score=0.1, segment=0),
    held("b", score=0.9, segment=0),
    held("c", score=0.5, segment=0),
    held("d", score=float("nan"), segment=0),
    held("last", segment=1),
    held("log", kind="log"),
]
TO_COLD = "kind=checkpoint status=finished older_than=30d keep=best,last to=cold"


def test_best_and_last_stay() -> None:
    assert set(moves(plan(SCORED, state(mode="min"), TO_COLD))) == {"b", "c", "d"}
    assert set(moves(plan(SCORED, state(mode="max"), TO_COLD))) == {"a", "c", "d"}
    assert set(moves(plan(SCORED, state(mode=None), TO_COLD))) == {"c", "d"}, "both ends where either may be the best"


def test_without_any_score_the_last_is_the_best() -> None:
    files = [held("a", days=60), held("b", days=50), held("c", days=55)]
    assert set(moves(plan(files, state(), "keep=best to=cold"))) == {"a", "c"}


def test_what_a_rule_keeps_is_left_to_those_after_it() -> None:
    found = plan(SCORED, state(mode="min"), TO_COLD, "kind=checkpoint older_than=40d to=delete")
    assert moves(found) == {"a": "deleted", "b": "cold", "c": "cold", "d": "cold", "last": "deleted"}
    found = plan(SCORED, state(mode="min"), TO_COLD, "kind=checkpoint older_than=90d to=delete")
    spared = {one.file.key.path: one.why for one in found if not one.is_move}
    assert spared["a"] == "rule 1 keeps it: it is the run's best"
    assert spared["log"] == "no rule means it"


def test_the_first_rule_that_means_a_file_decides() -> None:
    assert moves(plan(SCORED, state(), "tag=t to=stay", "to=delete")) == {}
    assert set(moves(plan(SCORED, state(), "tag=u to=stay", "to=delete")).values()) == {"deleted"}


def test_files_of_runs_at_work_or_unknown_stay() -> None:
    for run, why in ((state("running"), "at work"), (None, "not known")):
        found = decide([held("a")], {} if run is None else {"r": run}, [Rule.parse("to=delete")], now=NOW)
        assert moves(found) == {}
        assert why in found[0].why
    assert moves(plan([held("a")], state("lost"), "to=delete")) == {"a": "deleted"}


def test_age_counts_from_the_last_of_all_that_happened() -> None:
    rule = "older_than=30d to=cold"
    assert moves(plan([held("a", days=31)], state(days=31), rule)) == {"a": "cold"}
    assert moves(plan([held("a", days=29)], state(days=31), rule)) == {}, "sent late by lde sync"
    assert moves(plan([held("a", days=31)], state(days=29), rule)) == {}, "the run went on"
    restored = held("a", days=90, placed_at=ago(10))
    assert moves(plan([restored], state(days=90), rule)) == {}, "brought back ten days ago"
    assert moves(plan([held("a", days=90, placed_at=ago(31))], state(days=90), rule)) == {"a": "cold"}


def test_cold_files_stay_cold_or_are_deleted_and_deleted_ones_are_gone() -> None:
    cold = held("a", tier="cold", placed_at=ago(1))
    assert moves(plan([cold], state(), "to=cold")) == {}
    assert moves(plan([cold], state(), "older_than=30d to=delete")) == {"a": "deleted"}
    assert plan([held("a", tier="deleted")], state(), "to=cold") == []


def test_a_deleted_file_is_neither_best_nor_last() -> None:
    files = [held("a", score=0.1), held("b", score=0.2, segment=1, tier="deleted")]
    assert moves(plan(files, state(mode="max"), "keep=best,last to=cold")) == {}


files_of_runs = st.lists(
    st.builds(
        HeldFile,
        key=st.builds(FileKey, st.sampled_from("rs"), st.sampled_from("abc"), st.sampled_from("12")),
        recipe=st.just("whole"),
        kind=st.sampled_from(["checkpoint", "log"]),
        size_bytes=st.just(1),
        stored_at=st.integers(0, 5).map(ago),
        segment=st.integers(0, 2),
        score=st.sampled_from([None, 0.0, 1.0, 2.0]),
        tier=st.sampled_from(["hot", "hot", "cold", "deleted"]),
        placed_at=st.none() | st.integers(0, 5).map(ago),
    ),
    unique_by=lambda file: file.key,
    max_size=8,
)
states = st.dictionaries(
    st.sampled_from("rs"),
    st.builds(
        RunState,
        st.builds(
            RunFacts,
            st.sampled_from(["p", "q"]),
            st.sampled_from(["finished", "failed", "running"]),
            st.dictionaries(st.sampled_from("tu"), st.sampled_from("12"), max_size=1),
        ),
        st.integers(0, 5).map(ago),
        st.sampled_from([None, "min", "max"]),
    ),
)
some_rules = st.lists(
    st.builds(
        Rule,
        to=st.sampled_from(["cold", "delete", "stay"]),
        kind=st.sampled_from([(), ("checkpoint",), ("l*",)]),
        project=st.sampled_from([(), ("p",)]),
        status=st.sampled_from([(), ("finished",), ("failed", "lost")]),
        tag=st.sampled_from([(), ("t",), ("u:1",)]),
        older_than=st.integers(0, 4).map(lambda days: timedelta(days=days)),
        keep=st.sampled_from([(), ("best",), ("last",), ("best", "last")]),
    ),
    max_size=3,
)


def brute_force(file: HeldFile, files: list[HeldFile], runs: dict[str, RunState], rules: list[Rule]) -> str:
    """What becomes of one file, by docs/tiers.md, sentence by sentence."""
    run = runs.get(file.key.run_id)
    if run is None or run.facts.status == "running":
        return file.tier
    dates = [run.quiet_since, file.stored_at] + ([file.placed_at] if file.tier == "hot" and file.placed_at else [])
    for rule in rules:
        kinds = {(): ["checkpoint", "log"], ("checkpoint",): ["checkpoint"], ("l*",): ["log"]}[rule.kind]
        if file.kind not in kinds or (rule.project and run.facts.project != "p"):
            continue
        if rule.status and run.facts.status not in rule.status:
            continue
        if (rule.tag == ("t",) and "t" not in run.facts.tags) or (
            rule.tag == ("u:1",) and run.facts.tags.get("u") != "1"
        ):
            continue
        if any(NOW - date < rule.older_than for date in dates):
            continue
        peers = [
            one for one in files if one.key.run_id == file.key.run_id and one.kind in kinds and one.tier != "deleted"
        ]
        newest = sorted(peers, key=lambda one: (one.segment, one.stored_at, one.key))[-1]
        is_last = file is newest
        scores = [one.score for one in peers if one.score is not None]
        if scores:
            is_min, is_max = file.score == min(scores), file.score == max(scores)
            is_best = (is_min and run.mode != "max") or (is_max and run.mode != "min")
        else:
            is_best = is_last
        if ("last" in rule.keep and is_last) or ("best" in rule.keep and is_best):
            continue
        return {"cold": "cold", "delete": "deleted", "stay": file.tier}[rule.to]
    return file.tier


@settings(max_examples=80, deadline=None)
@given(files_of_runs, states, some_rules)
def test_the_plan_is_what_the_rules_say(files: list[HeldFile], runs: dict[str, RunState], rules: list[Rule]) -> None:
    found = {one.file.key: one.to for one in decide(files, runs, rules, now=NOW)}
    assert found == {file.key: brute_force(file, files, runs, rules) for file in files if file.tier != "deleted"}
