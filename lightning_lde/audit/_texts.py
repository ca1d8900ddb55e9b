"""Looks at the texts of rows: what looks like a secret, and people where the lake's policy hides them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lightning_lde.audit._denied import denied_in_rows
from lightning_lde.audit._findings import POLICY, Finding, finding, says
from lightning_lde.capture import Pace, find_people, find_secrets, is_secret_key, looks_like_chance, may_be_secret_key
from lightning_lde.policy import Policy
from lightning_lde.recording import KEYS_OF_OTHERS

if TYPE_CHECKING:
    import pyarrow as pa

EMAILS = frozenset({"emails"})
NOBODY: frozenset[str] = frozenset()
PEOPLE = EMAILS | {"names"}
"""What people are known by, wherever the policy hides them before anything is written."""

PORTION = 1 << 20
"""Characters that are looked at together."""

OVERLAP = 4096
"""Characters that two portions have in common."""


class Texts:
    """Looks at texts, all of them in the same way.

    Args:
        policy: What the lake takes; None looks for secrets alone.
    """

    def __init__(self, policy: Policy | None = None) -> None:
        self._policy = policy
        self._hidden = NOBODY if policy is None else _hidden_by(policy)

    def in_rows(self, table: str, rows: pa.Table, file: str) -> Iterator[Finding]:
        """What stands in the texts of some rows.

        Args:
            table: The table.
            rows: Its rows.
            file: The file that they are from.
        """
        import pyarrow as pa

        runs: list[Any] = rows.column("run_id").to_pylist() if "run_id" in rows.column_names else [None] * rows.num_rows
        keys: list[Any] = rows.column("key").to_pylist() if table == "params" else []
        for field in rows.schema:
            kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
            if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                continue
            known: dict[str, list[Finding]] = {}
            for number, cell in enumerate(rows.column(field.name).to_pylist()):
                if cell is None:
                    continue
                if keys and field.name == "value_text" and is_secret_key(keys[number]) and says(cell):
                    yield finding(table, runs[number], f"{field.name} of {keys[number]}", "secret by name", cell, file)
                    continue
                if cell not in known:
                    if len(known) > PORTION:
                        known.clear()
                    known[cell] = list(self._in_cell(cell, table, field.name, file))
                for found in known[cell]:
                    yield dataclasses.replace(found, run_id=runs[number])
        if self._policy is not None:
            yield from denied_in_rows(table, rows, file, self._policy)

    def in_text(
        self, text: str, table: str, run_id: str | None, column: str, file: str, *, people: frozenset[str] = PEOPLE
    ) -> Iterator[Finding]:
        """What stands in a text.

        Args:
            text: The text.
            table: The table.
            run_id: The run.
            column: The column.
            file: The file that it is from.
            people: Whom to look for: `PEOPLE`, `EMAILS` or `NOBODY`.
        """
        for begin in range(0, max(1, len(text)), PORTION):
            portion = text[max(0, begin - OVERLAP) : begin + PORTION]
            # Nobody is to be given way to here.
            pace = Pace()
            secrets = find_secrets(portion, pace)
            for found in secrets:
                yield finding(table, run_id, column, found.kind, portion[found.start : found.end], file)
            wanted = people & self._hidden
            named = find_people(portion, emails="emails" in wanted, names="names" in wanted, pace=pace)
            for found in named:
                if not any(found.start < secret.end and secret.start < found.end for secret in secrets):
                    yield finding(table, run_id, column, found.kind, portion[found.start : found.end], file, POLICY)

    def _in_cell(self, cell: str, table: str, column: str, file: str) -> Iterator[Finding]:
        if cell[:1] in {"{", "["}:
            try:
                value = json.loads(cell)
            except ValueError:
                pass
            else:
                yield from self._in_json(value, table, column, file, secret=False)
                return
        yield from self.in_text(cell, table, None, column, file)

    def _in_json(self, value: Any, table: str, column: str, file: str, *, secret: bool) -> Iterator[Finding]:
        if isinstance(value, dict):
            named = any(isinstance(value.get(word), str) and is_secret_key(value[word]) for word in ("name", "key"))
            for key, item in value.items():
                by_chance = isinstance(item, str) and may_be_secret_key(key) and looks_like_chance(item)
                by_name = is_secret_key(key) or (named and key.lower() == "value")
                below = secret or ((by_chance or by_name) and column.split(".")[0] not in KEYS_OF_OTHERS)
                yield from self._in_json(item, table, f"{column}.{key}", file, secret=below)
                yield from self.in_text(key, table, None, f"{column} (a key)", file)
        elif isinstance(value, list):
            for item in value:
                yield from self._in_json(item, table, column, file, secret=secret)
        elif isinstance(value, str) and secret and says(value):
            yield finding(table, None, column, "secret by name", value, file)
        elif isinstance(value, str):
            yield from self.in_text(value, table, None, column, file)
        elif secret and isinstance(value, (int, float)) and not isinstance(value, bool):
            yield finding(table, None, column, "secret by name", str(value), file)


def _hidden_by(policy: Policy) -> frozenset[str]:
    """What a policy hides; at the level ``minimal`` nobody keeps a name."""
    ways = {"emails": policy.emails, "names": policy.names}
    return frozenset(kind for kind, way in ways.items() if way != "keep" or policy.capture == "minimal")
