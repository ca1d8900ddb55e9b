"""Rows, and what is in them, that a lake's policy does not take: parameters, variables, and what a level leaves out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lightning_lde.audit._findings import POLICY, Finding, finding, says
from lightning_lde.policy import Policy
from lightning_lde.recording import NOT_AT_MINIMAL, VARIABLES, arguments_taken, launch_taken

if TYPE_CHECKING:
    import pyarrow as pa


def denied_in_rows(table: str, rows: pa.Table, file: str, policy: Policy) -> Iterator[Finding]:
    """What of some rows would not be written today.

    Args:
        table: The table.
        rows: Its rows.
        file: The file that they are from.
        policy: What the lake takes.
    """
    if table == "params":
        yield from _parameters(rows, file, policy)
    elif table == "pipeline_configs":
        for _, value in _json_cells(rows, "hparams"):
            yield from _settings(value, "hparams", "", file, policy)
    elif table == "runs":
        for run_id, value in _json_cells(rows, "argv"):
            yield from _arguments(value, run_id, file, policy)
    elif table == "environments":
        for _, value in _json_cells(rows, "variables"):
            yield from _variables(value, None, table, "variables", file, policy)
    elif table == "code":
        for _, value in _json_cells(rows, "launch"):
            yield from _launch(value, file, policy)
    elif table == "events":
        yield from _events(rows, file, policy)
    if policy.capture == "minimal":
        yield from _not_at_minimal(table, rows, file)


def _cells(rows: pa.Table, column: str) -> list[Any]:
    return list(rows.column(column).to_pylist()) if column in rows.column_names else [None] * rows.num_rows


def _json_cells(rows: pa.Table, column: str) -> Iterator[tuple[str | None, Any]]:
    """The different values of a column, each with a run that has it."""
    runs = _cells(rows, "run_id")
    for cell, run_id in {cell: run_id for cell, run_id in zip(_cells(rows, column), runs, strict=True) if cell}.items():
        try:
            yield run_id, json.loads(cell)
        except ValueError:
            continue


def _parameters(rows: pa.Table, file: str, policy: Policy) -> Iterator[Finding]:
    for key, text, number in zip(*(_cells(rows, name) for name in ("key", "value_text", "value_num")), strict=True):
        if not policy.takes_parameter(key):
            column, value = ("value_num", str(number)) if text is None else ("value_text", text)
            yield finding("params", None, f"{column} of {key}", "denied parameter", value, file, POLICY)


def _settings(value: Any, column: str, key: str, file: str, policy: Policy) -> Iterator[Finding]:
    if isinstance(value, dict) and (value or not key):
        for name, item in value.items():
            yield from _settings(item, f"{column}.{name}", f"{key}.{name}" if key else name, file, policy)
    elif key and not policy.takes_parameter(key):
        yield finding("pipeline_configs", None, column, "denied parameter", _said(value), file, POLICY)


def _arguments(words: Any, run_id: str | None, file: str, policy: Policy) -> Iterator[Finding]:
    if not isinstance(words, list):
        return
    minimal = policy.capture == "minimal"
    kind = "argument at level minimal" if minimal else "denied parameter"
    for word, taken in zip(words, arguments_taken(words, policy, minimal=minimal), strict=True):
        if str(word) != str(taken) and says(str(word).partition("=")[2] or str(word)):
            yield finding("runs", run_id, "argv", kind, str(word), file, POLICY)


def _launch(value: Any, file: str, policy: Policy) -> Iterator[Finding]:
    if launch_taken(value, minimal=policy.capture == "minimal") != value and value.get("target"):
        yield finding("code", None, "launch.target", "argument at level minimal", str(value["target"]), file, POLICY)


def _variables(value: Any, run_id: str | None, table: str, column: str, file: str, policy: Policy) -> Iterator[Finding]:
    for name, item in value.items() if isinstance(value, dict) else ():
        is_minimal = policy.capture == "minimal"
        if is_minimal or not policy.takes_variable(name):
            kind = "variable at level minimal" if is_minimal else "denied variable"
            yield finding(table, run_id, f"{column}.{name}", kind, _said(item), file, POLICY)


def _events(rows: pa.Table, file: str, policy: Policy) -> Iterator[Finding]:
    for run_id, kind, message in zip(*(_cells(rows, name) for name in ("run_id", "kind", "message")), strict=True):
        if kind != VARIABLES or message is None:
            continue
        if policy.capture != "full":
            words = f"all variables at level {policy.capture}"
            yield finding("events", run_id, "message", words, message, file, POLICY)
            continue
        try:
            value = json.loads(message)
        except ValueError:
            continue
        yield from _variables(value, run_id, "events", "message", file, policy)


def _not_at_minimal(table: str, rows: pa.Table, file: str) -> Iterator[Finding]:
    for (its_table, column), what in NOT_AT_MINIMAL.items():
        if its_table == table:
            for cell in dict.fromkeys(_cells(rows, column)):
                if cell is not None:
                    yield finding(table, None, column, f"{what} at level minimal", cell, file, POLICY)


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
