"""A recommendation as text: what to try, what to expect, which runs say so, and what drives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning_lde.ui._words import printable

if TYPE_CHECKING:
    from lightning_lde.query import Advice
    from lightning_lde.recommend import AggregationGain, Proposal, Recommendation

_MOST_RUNS = 3
_MOST_SIMILAR = 5
_MOST_SETTINGS = 8


def recommendation_text(advice: Advice) -> str:
    """The whole of a recommendation for people.

    Args:
        advice: What was recommended.
    """
    found = advice.recommendation
    best = "larger" if found.maximize else "smaller"
    known = f"{_count(found.n_runs, 'result')} on {_count(found.n_datasets, 'data set')}"
    where = advice.dataset or "a data set that is described only"
    lines = [f"{found.metric} ({best} is better) on {where}: learned from {known} by {found.recommender}"]
    if found.reason:
        lines.append(f"The past says too little: {found.reason}")
    if advice.told:
        lines.append(f"Tried on it already, so not proposed again: {_count(len(advice.told), 'configuration')}")
    if advice.told and not found.proposals:
        choose = max if found.maximize else min
        name, value = choose(advice.told.items(), key=lambda one: one[1])
        lines.append(f"Nothing is left to try. The best so far is {name}: {value:.4g}")
    for number, proposal in enumerate(found.proposals, start=1):
        lines += ["", *_proposal(number, proposal, advice)]
    lines += ["", *_contrast(found), *_importance(found), *_similar(found), *advice.notes]
    return "\n".join(map(printable, lines)).rstrip()


def gain_text(gain: AggregationGain) -> str:
    """What repetitions were worth to recommendations, in one sentence for each number of tries.

    Args:
        gain: Regret on held-out data sets, learned from single runs and from means.
    """
    lines = [
        f"Regret on {_count(gain.n_datasets, 'held-out data set')}, in hundredths of the range between their worst and "
        f"best configuration; single runs drawn {gain.n_draws} times, means over {gain.repetitions:.1f} repetitions:"
    ]
    lines += [
        f"  after {one.step} tried: single {one.single:.2f}, aggregated {one.aggregated:.2f}, gain {one.gain:+.2f} "
        f"[{one.low:+.2f}, {one.high:+.2f}] (average rank {one.average_rank:.2f}, random {one.random:.2f})"
        for one in gain.steps
    ]
    return "\n".join(lines)


def _proposal(number: int, proposal: Proposal, advice: Advice) -> list[str]:
    confidence = round(100 * advice.recommendation.confidence)
    regret = "" if proposal.expected_regret is None else f", expected regret {proposal.expected_regret:.1f}"
    tried = f"{_count(proposal.n_repetitions, 'run')} on {_count(proposal.n_datasets, 'data set')}"
    lines = [
        f"{number}. {proposal.configuration}  {_settings(proposal.settings)}",
        f"   expected {proposal.mean:.4g}, {confidence} % interval [{proposal.low:.4g}, {proposal.high:.4g}]{regret}; "
        f"{tried}",
    ]
    for one in proposal.evidence[:3]:
        interval = "" if one.low is None or one.high is None else f" [{one.low:.4g}, {one.high:.4g}]"
        alike = "" if one.similarity is None else f", {100 * one.similarity:.0f} % alike"
        runs = advice.runs.get(proposal.configuration, {}).get(one.dataset, ())
        listed = ", ".join(runs[:_MOST_RUNS]) + (", …" if len(runs) > _MOST_RUNS else "")
        lines.append(
            f"   on {one.dataset}{alike}: {one.mean:.4g}{interval} over {_count(one.n, 'run')}, better than "
            f"{100 * one.rank:.0f} % there{': ' + listed if listed else ''}"
        )
    return lines


def _contrast(found: Recommendation) -> list[str]:
    one = found.contrast
    if one is None:
        return []
    differ = ", ".join(f"{name} {_word(mine)} against {_word(theirs)}" for name, (mine, theirs) in one.settings.items())
    return [
        f"First against the runner-up {one.runner_up}: {one.difference:+.3g}, better with probability "
        f"{one.probability_better:.2f}{'; they differ in ' + differ if differ else ''}"
    ]


def _importance(found: Recommendation) -> list[str]:
    shares = [f"{name} {100 * share:.0f} %" for name, share in list(found.importance.items())[:_MOST_SETTINGS]]
    return [f"Settings that matter, by share of the differences: {', '.join(shares)}"] if shares else []


def _similar(found: Recommendation) -> list[str]:
    alike = [
        f"{one.dataset} {100 * one.similarity:.0f} %"
        for one in found.similar[:_MOST_SIMILAR]
        if one.similarity is not None
    ]
    return [f"Most similar data sets: {', '.join(alike)}"] if alike else ["No descriptor is known on both sides."]


def _settings(settings: Any) -> str:
    return ", ".join(f"{name}={_word(value)}" for name, value in settings.items())


def _word(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _count(n: int, word: str) -> str:
    return f"{n:,} {word}{'' if n == 1 else 's'}"
