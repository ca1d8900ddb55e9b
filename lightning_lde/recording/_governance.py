"""The gate between what a run says and what is written: levels of capture, the lake's policy, secrets, people."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lightning_lde.capture import REDACTED, find_secrets, hide_emails, hide_names, is_secret_key, redact, redact_text
from lightning_lde.policy import Policy
from lightning_lde.recording._blocks import MetricBlock
from lightning_lde.recording._spool import Rows
from lightning_lde.schema import canonical_json, json_columns

if TYPE_CHECKING:
    import pyarrow as pa

WITHHELD = "<withheld>"
"""What stands in place of a value that the level of capture or the policy does not take."""

VARIABLES = "variables"
"""The kind of the event that holds all environment variables, at the level ``full``."""

KEYS_OF_OTHERS = {"class_counts", "determinism", "gpus", "layers", "package_origins", "packages", "seeds", "summary"}
"""JSON columns whose keys name packages, classes, layers or metrics: `google-auth` announces no secret there."""

_NOT_AT_MINIMAL = {("code", "diff"), ("code", "snapshot_object"), ("datasets", "manifest_object")}
_SHORTEST_KNOWN = 8
# Names of metrics are made safe when they are logged; a summary may have a hundred thousand of them.
_SAFE_ALREADY = {("runs", "summary")}


class Governance:
    """Makes rows fit to be written; the same rows pass it before the local disk and before the lake.

    Until the lake's policy is known, the level that was given counts and people keep their names, but for the level
    ``minimal``, where they have none.

    Args:
        level: The level of capture, a word of ``policy.LEVELS``.
        known: Values that are secrets wherever they stand.
    """

    def __init__(self, level: str = "full", known: Iterable[str] = ()) -> None:
        self._given = level
        self._known = tuple(sorted({value for value in known if _can_be_known(value)}, key=len, reverse=True))
        self._rules = Policy(emails="keep", names="keep")
        self.is_known = False
        self._words = functools.lru_cache(maxsize=10_000)(self._clean)

    def learn(self, policy: Policy) -> None:
        """Take over the policy of the lake."""
        self._rules = policy
        self.is_known = True
        self._words.cache_clear()

    @property
    def level(self) -> str:
        """The level of capture, as far as the policy is known."""
        return self._rules.level(self._given)

    def apply(self, rows: Rows) -> Rows:
        """The same rows, fit to be written."""
        tables = {table: self.table(table, part) for table, part in rows.tables.items()}
        kept = {table: part for table, part in tables.items() if part.num_rows}
        objects = [item for item in rows.objects if item.at_minimal or self.level != "minimal"]
        return Rows(kept, [self._block(block) for block in rows.metrics], objects)

    def table(self, table: str, rows: pa.Table) -> pa.Table:
        """Rows of one table, fit to be written; rows that the policy does not take are left out."""
        import pyarrow as pa

        rows = self._taken(table, rows)
        as_json = json_columns(table)
        for number, column in enumerate(rows.schema):
            if not pa.types.is_string(column.type) or (table, column.name) in _SAFE_ALREADY:
                continue
            cells = rows.column(number).to_pylist()
            change = functools.partial(self._json, table, column.name) if column.name in as_json else self.text
            changed = [None if cell is None else change(cell) for cell in cells]
            if self.level == "minimal" and (table, column.name) in _NOT_AT_MINIMAL:
                changed = [None] * len(cells)
            if changed != cells:
                rows = rows.set_column(number, column, pa.array(changed, column.type))
        return self._masked_params(rows) if table == "params" else rows

    def text(self, text: str) -> str:
        """A text without secrets, and with people named as the policy says."""
        return self._words(text) if len(text) < 500 else self._clean(text)

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
        for value in self._known:
            text = text.replace(value, REDACTED)
        return self._people(redact_text(text))

    def _people(self, text: str) -> str:
        emails, names = self._rules.emails, self._rules.names
        if self.level == "minimal":
            # Without a salt there are no pseudonyms: names go.
            emails, names = (("pseudonymise" if how == "keep" else how) for how in (emails, names))
        return hide_names(hide_emails(text, emails, self._rules.salt), names, self._rules.salt)

    def _block(self, block: MetricBlock) -> MetricBlock:
        names = tuple(map(self.text, block.names))
        return block if names == block.names else block._replace(names=names)

    def _json(self, table: str, column: str, text: str) -> str:
        try:
            value = json.loads(text)
        except ValueError:
            return self.text(text)
        value = self._withheld(table, column, value)
        return canonical_json(_mapped(value if column in KEYS_OF_OTHERS else redact(value), self.text))

    def _withheld(self, table: str, column: str, value: Any) -> Any:
        rules, minimal = self._rules, self.level == "minimal"
        if (table, column) == ("runs", "argv") and isinstance(value, list):
            return _arguments(value, rules.takes_parameter, minimal=minimal)
        if (table, column) == ("environments", "variables") and isinstance(value, dict):
            return {} if minimal else {name: item for name, item in value.items() if rules.takes_variable(name)}
        if (table, column) == ("pipeline_configs", "hparams"):
            return _without(value, rules.takes_parameter, "")
        return value

    def _taken(self, table: str, rows: pa.Table) -> pa.Table:
        import pyarrow as pa

        if table == "params":
            keep = [self._rules.takes_parameter(key) for key in rows.column("key").to_pylist()]
        elif table == "events":
            keep = [kind != VARIABLES or self.level == "full" for kind in rows.column("kind").to_pylist()]
        else:
            return rows
        return rows if all(keep) else rows.filter(pa.array(keep, pa.bool_()))

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


def secrets_around(storage_options: Mapping[str, Any] | None = None) -> set[str]:
    """Values that are secrets because of the name under which this process got them.

    Args:
        storage_options: Options of the lake's storage.
    """
    named = {**os.environ, **{str(key): value for key, value in (storage_options or {}).items()}}
    values = {str(value) for name, value in named.items() if isinstance(value, str) and is_secret_key(name)}
    of_storage = (storage_options or {}).get("key")
    return values | ({of_storage} if isinstance(of_storage, str) else set())


def _can_be_known(value: str) -> bool:
    """Whether a secret is so rare a word that it can be replaced wherever it stands."""
    mixed = any(char.isdigit() for char in value) and any(char.isalpha() for char in value)
    return len(value) >= _SHORTEST_KNOWN and (mixed or len(value) >= 2 * _SHORTEST_KNOWN) and "\n" not in value


def _arguments(words: list[Any], takes: Callable[[str], bool], *, minimal: bool) -> list[Any]:
    """A command line without the values of what is not taken; with none at all at the level ``minimal``."""
    kept: list[Any] = words[:1]
    hides = False
    for word in map(str, words[1:]):
        name, equals, _ = word.partition("=")
        is_flag = word.startswith("-") and not word[1:2].isdigit()
        denied = minimal or not takes(name.lstrip("-+~"))
        if equals and (is_flag or "=" in word) and denied:
            kept.append(f"{name}={WITHHELD}")
        elif not is_flag and (minimal or hides):
            kept.append(WITHHELD)
        else:
            kept.append(word)
        hides = is_flag and not equals and not takes(name.lstrip("-"))
    return kept


def _without(value: Any, takes: Callable[[str], bool], prefix: str) -> Any:
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, item in value.items():
        if isinstance(item, dict) and item:
            # A group is what is left of it.
            if rest := _without(item, takes, f"{prefix}{key}."):
                kept[key] = rest
        elif takes(prefix + key):
            kept[key] = item
    return kept


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(key): _mapped(item, change) for key, item in value.items()}
    return [_mapped(item, change) for item in value] if isinstance(value, list) else value
