"""Subcommand log: what was done to a lake."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from lightning_lde.cli._arguments import open_lake, output_format, storage_options
from lightning_lde.cli._output import print_json, print_table

if TYPE_CHECKING:
    from lightning_lde.lake import Action


@click.command()
@click.argument("url", required=False)
@click.option("--limit", default=50, show_default=True, type=click.IntRange(min=1), help="Most actions to show.")
@output_format
@storage_options
def log(url: str | None, limit: int, form: str, options: tuple[str, ...]) -> None:
    """Show what was done to a lake, newest first: compactions, changes of its policy, and other maintenance."""
    import pyarrow as pa

    actions = open_lake(url, options).storage.actions(limit)
    if form == "json":
        print_json([_as_dict(one) for one in actions])
        return
    columns = {
        "at": [one.at for one in actions],
        "action": [one.action for one in actions],
        "by": [" on ".join(one.by.values()) for one in actions],
        "details": [_in_words(one) if form == "table" else json.dumps(dict(one.details)) for one in actions],
    }
    types = (pa.timestamp("us", tz="UTC"), pa.string(), pa.string(), pa.string())
    print_table(pa.table([pa.array(*pair) for pair in zip(columns.values(), types, strict=True)], list(columns)), form)


def _as_dict(one: Action) -> dict[str, Any]:
    return {"id": one.action_id, "at": one.at, "action": one.action, "by": one.by, "details": one.details}


def _in_words(one: Action) -> str:
    """Details on one line, without what is nothing."""
    return ", ".join(f"{name} {_word(value)}" for name, value in one.details.items() if not _is_nothing(value))


def _is_nothing(value: Any) -> bool:
    return value in (0, None, [], {}) or (isinstance(value, dict) and all(map(_is_nothing, value.values())))


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{name} {_word(each)}" for name, each in value.items()) + ")"
    if isinstance(value, list):
        return "[" + ", ".join(map(_word, value)) + "]"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
