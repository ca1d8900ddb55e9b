"""The gate between what a run says and what is written: levels of capture, the lake's policy, secrets, people."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lightning_lde.capture import (
    REDACTED,
    find_secrets,
    hide_emails,
    hide_names,
    is_secret_key,
    people_here,
    redact,
    redact_text,
    rewritten_snapshot,
)
from lightning_lde.policy import WITHHELD, Policy
from lightning_lde.recording._blocks import MetricBlock
from lightning_lde.recording._known import Remembered, can_be_known, remember
from lightning_lde.recording._objects import SmallObject
from lightning_lde.recording._spool import Rows
from lightning_lde.recording._summary import renamed_summary
from lightning_lde.recording._withheld import arguments_taken, launch_taken, settings_taken
from lightning_lde.schema import canonical_json, json_columns

if TYPE_CHECKING:
    import pyarrow as pa

VARIABLES = "variables"
"""The kind of the event that holds all environment variables, at the level ``full``."""

KEYS_OF_OTHERS = {"class_counts", "determinism", "gpus", "layers", "package_origins", "packages", "seeds", "summary"}
"""JSON columns whose keys name packages, classes, layers or metrics: `google-auth` announces no secret there."""

NOT_AT_MINIMAL = {
    ("code", "diff"): "diff",
    ("code", "snapshot_object"): "snapshot",
    ("datasets", "manifest_object"): "manifest",
}
"""Columns that are null at the level ``minimal``, and what they hold."""


class Governance:
    """Makes rows fit to be written; the same rows pass it before the local disk and before the lake.

    Until the lake's policy is known, the level that was given counts and people keep their names, but for the level
    ``minimal``, where they have none.

    Args:
        level: The level of capture, a word of ``policy.LEVELS``.
        known: Values that are secrets wherever they stand, as a rule with the name of each.
        people: Kinds and names of the users and machines that are to be hidden beside those of this process.
    """

    def __init__(self, level: str = "full", known: Iterable[str] = (), people: Iterable[tuple[str, str]] = ()) -> None:
        self._given = level
        named = known if isinstance(known, Mapping) else dict.fromkeys(known, "")
        self._named = {value: name for value, name in named.items() if can_be_known(value)}
        self._known = tuple(sorted(self._named, key=len, reverse=True))
        others = set(people)
        # None: those of this process, which are looked up when they are needed.
        self._people = tuple(sorted(others | set(people_here()), key=_longest_first)) if others else None
        self._rules = Policy(emails="keep", names="keep")
        self.is_known = False
        self._words = functools.lru_cache(maxsize=10_000)(self._clean)
        # Of archives that were changed: the id of what is stored in their place, and which of its files changed.
        self._rewritten: dict[str, tuple[str | None, set[str]]] = {}

    def learn(self, policy: Policy) -> None:
        """Take over the policy of the lake."""
        self._rules = policy
        self.is_known = True
        self._words.cache_clear()

    @property
    def level(self) -> str:
        """The level of capture, as far as the policy is known."""
        return self._rules.level(self._given)

    @property
    def known(self) -> tuple[str, ...]:
        """The values that are secrets wherever they stand."""
        return self._known

    @functools.cached_property
    def remembered(self) -> Remembered:
        """Which secrets are known here, for whoever stores something later; it takes some hundredths of a second."""
        return remember(self._named)

    def apply(self, rows: Rows) -> Rows:
        """The same rows, fit to be written."""
        # Before the rows that name them: an archive that is changed has another id.
        objects = [self._object(item) for item in rows.objects if item.at_minimal or self.level != "minimal"]
        tables = {table: self.table(table, part) for table, part in rows.tables.items()}
        kept = {table: part for table, part in tables.items() if part.num_rows}
        blocks = [self._block(block) for block in rows.metrics]
        return Rows(kept, blocks, [item for item in objects if item is not None])

    def table(self, table: str, rows: pa.Table) -> pa.Table:
        """Rows of one table, fit to be written; rows that the policy does not take are left out."""
        import pyarrow as pa

        rows = self._taken(table, rows)
        as_json = json_columns(table)
        own: dict[tuple[str, str], Callable[[str], str]] = {
            ("runs", "summary"): self._summary,
            ("runs", "project"): self.without_secrets,
        }
        for number, column in enumerate(rows.schema):
            if not pa.types.is_string(column.type):
                continue
            cells = rows.column(number).to_pylist()
            if column.name in as_json:
                change = own.get((table, column.name), functools.partial(self._json, table, column.name))
            else:
                change = own.get((table, column.name), self.text)
            changed = [None if cell is None else change(cell) for cell in cells]
            if self.level == "minimal" and (table, column.name) in NOT_AT_MINIMAL:
                changed = [None] * len(cells)
            if changed != cells:
                rows = rows.set_column(number, column, pa.array(changed, column.type))
        if table == "code":
            return self._renamed(rows)
        return self._masked_params(rows) if table == "params" else rows

    def text(self, text: str) -> str:
        """A text without secrets, and with people named as the policy says."""
        return self._words(text) if len(text) < 500 else self._clean(text)

    def without_secrets(self, text: str) -> str:
        """A text in which people stay, whatever the policy says: the name of a project, a path on this machine."""
        return redact_text(self.without_known(text))

    def without_known(self, text: str) -> str:
        """A text without the values that are secrets wherever they stand."""
        for value in self._known:
            text = text.replace(value, REDACTED)
        return text

    def secrets_in(self, text: str) -> list[tuple[int, int]]:
        """Where secrets stand in a text; those that are known and those that look like one."""
        spans = [(found.start, found.end) for found in find_secrets(text)]
        for value in self._known:
            at = text.find(value)
            while at >= 0:
                spans.append((at, at + len(value)))
                at = text.find(value, at + len(value))
        return sorted(spans)

    def _clean(self, text: str) -> str:
        return self._without_people(redact_text(self.without_known(text)))

    def _without_people(self, text: str) -> str:
        emails, names = self._rules.emails, self._rules.names
        if self.level == "minimal":
            # Without a salt there are no pseudonyms: names go.
            emails, names = (("pseudonymise" if how == "keep" else how) for how in (emails, names))
        return self._without(text, emails, names)

    def _without(self, text: str, emails: str, names: str) -> str:
        return hide_names(hide_emails(text, emails, self._rules.salt), names, self._rules.salt, self._people)

    def _source(self, text: str) -> str:
        """A source, or its name: a program that calls somebody by a pseudonym may not run again, so people stay.

        Where the policy says that they shall go, they go.
        """
        if self.level == "minimal":
            return self._without_people(self.without_known(text))
        emails, names = ("drop" if how == "drop" else "keep" for how in (self._rules.emails, self._rules.names))
        return self._without(self.without_known(text), emails, names)

    def _object(self, item: SmallObject) -> SmallObject | None:
        if not item.is_archive:
            return item
        try:
            data, changed = rewritten_snapshot(item.data, self._source)
        except ValueError:
            # What cannot be looked into is not stored.
            self._rewritten[item.object_id] = None, set()
            return None
        if data is item.data:
            return item
        safe = item._replace(data=data)
        self._rewritten[item.object_id] = safe.object_id, changed
        return safe

    def _renamed(self, rows: pa.Table) -> pa.Table:
        """Rows of code whose snapshots were changed, with the id of what is stored and the files that differ."""
        if not self._rewritten or not {"snapshot_object", "untracked"} <= set(rows.column_names):
            return rows
        ids, files = (rows.column(name).to_pylist() for name in ("snapshot_object", "untracked"))
        changes = [self._rewritten.get(object_id) if object_id else None for object_id in ids]
        if not any(changes):
            return rows
        stored = [change[0] if change else object_id for object_id, change in zip(ids, changes, strict=True)]
        listed = [
            _noted(text, change[1]) if change and text else text for text, change in zip(files, changes, strict=True)
        ]
        return _with_cells(_with_cells(rows, "snapshot_object", stored), "untracked", listed)

    def _summary(self, text: str) -> str:
        """Names of metrics lost what looks like a secret when they were logged; there may be a hundred thousand."""
        try:
            rows = json.loads(text)
        except ValueError:
            return self.text(text)
        if not isinstance(rows, dict):
            return canonical_json(_mapped(rows, self.text))
        together = "\n".join(rows)
        if self._without_people(self.without_known(together)) == together:
            return text
        return canonical_json(renamed_summary(rows, self.text))

    def _block(self, block: MetricBlock) -> MetricBlock:
        names = tuple(map(self.text, block.names))
        return block if names == block.names else block._replace(names=names)

    def _json(self, table: str, column: str, text: str) -> str:
        try:
            value = json.loads(text)
        except ValueError:
            return self.text(text)
        value = self._withheld(table, column, value)
        safe = value if column in KEYS_OF_OTHERS else redact(value)
        if (table, column) == ("code", "untracked") and isinstance(safe, list):
            # In the snapshot a file has the same name.
            return canonical_json([_mapped(one, self._source if _is_kept(one) else self.text) for one in safe])
        return canonical_json(_mapped(safe, self.text))

    def _withheld(self, table: str, column: str, value: Any) -> Any:
        rules, minimal = self._rules, self.level == "minimal"
        if (table, column) == ("runs", "argv") and isinstance(value, list):
            return arguments_taken(value, rules, minimal=minimal)
        if (table, column) == ("environments", "variables") and isinstance(value, dict):
            return {} if minimal else {name: item for name, item in value.items() if rules.takes_variable(name)}
        if (table, column) == ("pipeline_configs", "hparams"):
            return settings_taken(value, rules.takes_parameter)
        if (table, column) == ("code", "launch"):
            return launch_taken(value, minimal=minimal)
        return value

    def _taken(self, table: str, rows: pa.Table) -> pa.Table:
        """The rows that the policy takes, and of those with values inside of values what it takes of these."""
        import pyarrow as pa

        if table == "params":
            keys, cells, kinds = (rows.column(name).to_pylist() for name in ("key", "value_text", "type"))
            keep = [self._rules.takes_parameter(key) for key in keys]
            changed = [
                self._inside_param(key, text) if kind == "json" and text else text
                for key, text, kind in zip(keys, cells, kinds, strict=True)
            ]
            rows = _with_cells(rows, "value_text", changed) if changed != cells else rows
        elif table == "events":
            kinds, cells = (rows.column(name).to_pylist() for name in ("kind", "message"))
            keep = [kind != VARIABLES or self.level == "full" for kind in kinds]
            changed = [
                self._inside_event(message) if kind == VARIABLES and message else message
                for kind, message in zip(kinds, cells, strict=True)
            ]
            rows = _with_cells(rows, "message", changed) if changed != cells else rows
        else:
            return rows
        return rows if all(keep) else rows.filter(pa.array(keep, pa.bool_()))

    def _inside_param(self, key: str, text: str) -> str:
        """The value of a parameter without the settings in it that the policy does not take."""
        if self._rules.parameters_allow == ("*",) and not self._rules.parameters_deny:
            return text
        try:
            return canonical_json(settings_taken(json.loads(text), self._rules.takes_parameter, f"{key}."))
        except ValueError:
            return WITHHELD

    def _inside_event(self, message: str) -> str:
        """All variables of the environment without those that the policy does not take."""
        try:
            variables = json.loads(message)
        except ValueError:
            return message
        if not isinstance(variables, dict):
            return message
        taken = {name: value for name, value in variables.items() if self._rules.takes_variable(name)}
        return canonical_json(_mapped(redact(taken), self.text))

    def _masked_params(self, rows: pa.Table) -> pa.Table:
        import pyarrow as pa

        keys, texts, kinds = (rows.column(name).to_pylist() for name in ("key", "value_text", "type"))
        hidden = [
            is_secret_key(key)
            and text not in {None, "", "null", "true", "false", REDACTED, canonical_json(REDACTED)}
            and not (kind == "json" and REDACTED in text)
            for key, text, kind in zip(keys, texts, kinds, strict=True)
        ]
        if not any(hidden):
            return rows
        cells = {
            "value_text": [REDACTED if hide else text for hide, text in zip(hidden, texts, strict=True)],
            "value_num": [
                None if hide else number
                for hide, number in zip(hidden, rows.column("value_num").to_pylist(), strict=True)
            ],
        }
        for name, values in cells.items():
            number = rows.schema.get_field_index(name)
            rows = rows.set_column(number, rows.schema.field(number), pa.array(values, rows.schema.field(number).type))
        return rows


def _with_cells(rows: pa.Table, column: str, cells: list[Any]) -> pa.Table:
    import pyarrow as pa

    number = rows.schema.get_field_index(column)
    field = rows.schema.field(number)
    return rows.set_column(number, field, pa.array(cells, field.type))


def _noted(files: str, changed: set[str]) -> str:
    """The list of a snapshot's files, which says of those that were changed that they are not as they were."""
    rows = json.loads(files)
    for row in rows:
        if _is_kept(row) and row.get("path") in changed and row.get("note") is None:
            row["note"] = "redacted"
    return canonical_json(rows)


def _is_kept(file: Any) -> bool:
    return isinstance(file, dict) and bool(file.get("in_snapshot"))


def _longest_first(person: tuple[str, str]) -> tuple[int, tuple[str, str]]:
    return -len(person[1]), person


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(key): _mapped(item, change) for key, item in value.items()}
    return [_mapped(item, change) for item in value] if isinstance(value, list) else value
