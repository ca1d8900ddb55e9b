"""What the tiers of a lake say of its files, in words and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from lightning_lde.cli._output import print_json, print_lines, text
from lightning_lde.cli._show import size

if TYPE_CHECKING:
    from lightning_lde.lake import LakeStorage
    from lightning_lde.lake.tiers import Decision
    from lightning_lde.tiering import TierPolicy

_VERBS = {"cold": "go to the cold root", "deleted": "are deleted"}
_GOES = {"cold": "goes to the cold root", "deleted": "is deleted"}


def explain_lake(storage: LakeStorage, form: str) -> None:
    """Print for each rule what it means and how many files it decides about.

    Args:
        storage: The lake.
        form: ``text`` or ``json``.
    """
    from lightning_lde.lake.tiers import decisions

    tiers = storage.tiers()
    found = decisions(storage, tiers)
    groups: dict[int | None, list[Decision]] = {number: [] for number in range(1, len(tiers.rules) + 1)}
    for one in found:
        groups.setdefault(one.rule, []).append(one)
    if form == "json":
        print_json(
            {"tiers": tiers.settings(), "rules": [_group(number, tiers, some) for number, some in groups.items()]}
        )
        return
    click.echo(_place(tiers))
    for number, some in groups.items():
        if number is None:
            click.echo(f"no rule\n  {_counted(some)} stay where they are")
            continue
        click.echo(text(f"rule {number}: {tiers.rules[number - 1].in_words()}"))
        moving = [one for one in some if one.is_move]
        click.echo(f"  now {_counted(some)}; {_what_happens(moving)}")


def explain_run(storage: LakeStorage, run_id: str, form: str) -> None:
    """Print for each file of a run where it goes, and which rule says so.

    Args:
        storage: The lake.
        run_id: The run.
        form: ``text`` or ``json``.
    """
    from lightning_lde.lake.tiers import decisions

    found = [one for one in decisions(storage, storage.tiers()) if one.file.key.run_id == run_id]
    if form == "json":
        print_json([_decision(one) for one in found])
        return
    click.echo(f"run {run_id}: {_counted(found)}")
    print_lines([(text(one.file.key.path), text(_sentence(one))) for one in found])


def _place(tiers: TierPolicy) -> str:
    if tiers.cold_root is None:
        return "there is no cold root; what goes there waits for one: `lde policy set … tiers.cold=…`"
    stored = f", stored as {tiers.storage_class}" if tiers.storage_class else ""
    return f"cold root: {tiers.cold_root}{stored}"


def _counted(found: Iterable[Decision]) -> str:
    some = list(found)
    runs = len({one.file.key.run_id for one in some})
    words = f"{len(some):,} {'file' if len(some) == 1 else 'files'} of {runs:,} {'run' if runs == 1 else 'runs'}"
    return f"{words}, {size(sum(one.file.size_bytes for one in some))}"


def _what_happens(moving: list[Decision]) -> str:
    if not moving:
        return "nothing is to do"
    return f"of these, {_counted(moving)}, {_VERBS[moving[0].to]} with the next `lde tier`"


def _sentence(one: Decision) -> str:
    where = _GOES[one.to] if one.is_move else f"stays {one.file.tier}"
    return f"{one.file.kind}, {size(one.file.size_bytes)}: {where} ({one.why})"


def _group(number: int | None, tiers: TierPolicy, found: list[Decision]) -> dict[str, Any]:
    moving = [one for one in found if one.is_move]
    return {
        "rule": number,
        "text": None if number is None else str(tiers.rules[number - 1]),
        "words": None if number is None else tiers.rules[number - 1].in_words(),
        "files": len(found),
        "size_bytes": sum(one.file.size_bytes for one in found),
        "files_to_move": len(moving),
        "bytes_to_move": sum(one.file.size_bytes for one in moving),
    }


def _decision(one: Decision) -> dict[str, Any]:
    return {
        **one.file.key._asdict(),
        "kind": one.file.kind,
        "size_bytes": one.file.size_bytes,
        "tier": one.file.tier,
        "to": one.to,
        "rule": one.rule,
        "why": one.why,
    }
