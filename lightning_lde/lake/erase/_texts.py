"""Texts that are looked for in rows: as a user gives them, and as they stand in JSON, paths and pseudonyms."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lightning_lde.policy import Policy, pseudonym

if TYPE_CHECKING:
    import pyarrow as pa

ERASED = "<erased>"
"""What stands where a name was, in rows that stay."""

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

# Columns that say who recorded: a bare name counts there, elsewhere it may be any word.
_OF_PEOPLE = frozenset({"argv", "variables", "working_directory", "launch", "remote"})


@dataclass(frozen=True)
class Needles:
    """Patterns, in the syntax that RE2 and Python share.

    Attributes:
        anywhere: Those that count in every text.
        of_people: Those that count in columns that say who recorded.
    """

    anywhere: tuple[str, ...] = ()
    of_people: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.anywhere or self.of_people)

    def as_dict(self) -> dict[str, list[str]]:
        """Plain words."""
        return {"anywhere": list(self.anywhere), "of_people": list(self.of_people)}

    @classmethod
    def from_dict(cls, words: Mapping[str, Iterable[str]]) -> Needles:
        """Those that `as_dict` gave."""
        return cls(tuple(words["anywhere"]), tuple(words["of_people"]))

    def pattern(self, column: str) -> str | None:
        """One pattern for a column, None where nothing counts there."""
        patterns = [*self.anywhere, *(self.of_people if column in _OF_PEOPLE else ())]
        return "|".join(f"(?:{one})" for one in patterns) or None

    def replaced(self, column: str, text: str) -> str:
        """A text of a column with a mark in place of each match."""
        pattern = self.pattern(column)
        return text if pattern is None else re.sub(pattern, ERASED, text)


def needles_of_text(text: str) -> Needles:
    """Where a text stands as it is, in JSON, in JSON within JSON, or in a path of the lake."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return Needles()  # Bytes that are no UTF-8 stand in no column.
    once = json.dumps(text, ensure_ascii=False)[1:-1]
    twice = json.dumps(once, ensure_ascii=False)[1:-1]
    forms = dict.fromkeys([text, once, twice, json.dumps(text)[1:-1], quote(text, safe="")])
    return Needles(tuple(re.escape(form) for form in forms))


def needles_of_person(name: str, policy: Policy) -> Needles:
    """Where a person is named: an address or a name, the home folder, the lake's pseudonyms.

    Args:
        name: A user's name or an e-mail address.
        policy: The lake's; its salt makes pseudonyms.
    """
    kinds = ("email",) if "@" in name else ("user", "host", "email")
    marks = [re.escape(pseudonym(kind, name, "pseudonymise", policy.salt)) for kind in kinds] if policy.salt else []
    word = re.escape(name)
    if "@" in name:
        return Needles((*marks, rf"(?i:\b{word}\b)"))
    home = rf"(?i:(?:/home/|/Users/|\\Users\\|\\\\Users\\\\){word}\b)"
    address = rf"(?i:\b{word}@[\w-]+(?:\.[\w-]+)+)"
    return Needles((*marks, home, address), (rf"(?i:\b{word}\b)",))


def mapped(column: pa.ChunkedArray, found: Callable[[Any], Any]) -> Any:
    """What a function says of each value of a text column; of repeated words it is asked once.

    Args:
        column: Texts, or texts as a dictionary.
        found: Takes an array of texts, gives an array of booleans.

    Returns:
        A boolean array, without nulls.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = []
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        if pa.types.is_dictionary(chunk.type):
            parts.append(found(chunk.dictionary).take(chunk.indices))
        else:
            parts.append(found(chunk))
    whole = pa.chunked_array(parts, pa.bool_()).combine_chunks()
    return pc.fill_null(whole, False)


def text_columns(rows: pa.Table) -> list[str]:
    """Names of the columns that hold texts."""
    import pyarrow as pa

    def holds(kind: pa.DataType) -> bool:
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))

    return [field.name for field in rows.schema if holds(field.type)]
