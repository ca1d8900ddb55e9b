"""A recipe: of which chunks a file consists, and in which order their bytes follow each other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from lightning_lde.errors import StoreError

WHOLE = "whole"
"""Stands in the place of a recipe where an object is one file below ``objects/``."""

_NAME = re.compile(r"[0-9a-f]{64}(-[1-9][0-9]*)?")
_HASH = re.compile(r"[0-9a-f]{64}")


class Piece(NamedTuple):
    """A chunk as a recipe names it.

    Attributes:
        name: Its name.
        size_bytes: The length of its content.
    """

    name: str
    size_bytes: int


class Part(NamedTuple):
    """Bytes of a file that lie in one chunk.

    Attributes:
        piece: The chunk.
        start: Where they begin in it.
        size_bytes: How many they are.
    """

    piece: Piece
    start: int
    size_bytes: int


@dataclass(frozen=True)
class Recipe:
    """Of what a file consists.

    Large pieces of a file, such as the tensors of a checkpoint, are chunks of their own. What lies between them is put
    together as one stream, the rest, which is cut by itself.

    Attributes:
        size_bytes: The size of the file.
        sha256: The hash of the file.
        pieces: The large pieces.
        rest: The chunks of the rest.
        order: Pairs of numbers: so many bytes of the rest come next, then so many large pieces.
    """

    size_bytes: int
    sha256: str
    pieces: tuple[Piece, ...]
    rest: tuple[Piece, ...]
    order: tuple[tuple[int, int], ...]

    def to_bytes(self) -> bytes:
        """The recipe as it is stored: equal recipes are equal bytes."""
        content = {
            "size": self.size_bytes,
            "sha256": self.sha256,
            "pieces": self.pieces,
            "rest": self.rest,
            "order": self.order,
        }
        return json.dumps(content, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> Recipe:
        """Read a stored recipe.

        Args:
            data: Its bytes.
            name: Its name, for the message.

        Raises:
            StoreError: If it is none, or does not add up.
        """
        try:
            content = json.loads(data)
            recipe = cls(
                int(content["size"]),
                str(content["sha256"]),
                _pieces(content["pieces"]),
                _pieces(content["rest"]),
                tuple((int(rest), int(pieces)) for rest, pieces in content["order"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{name} is no recipe of a file: {error}; see `lde check`") from error
        recipe._check(name)
        return recipe

    def _check(self, name: str) -> None:
        of_rest, n_pieces = (sum(numbers) for numbers in zip(*self.order, strict=True)) if self.order else (0, 0)
        numbers = [number for pair in self.order for number in pair]
        total = sum(piece.size_bytes for piece in (*self.pieces, *self.rest))
        adds_up = (
            n_pieces == len(self.pieces)
            and of_rest == sum(piece.size_bytes for piece in self.rest)
            and total == self.size_bytes
            and min((*numbers, *(piece.size_bytes for piece in (*self.pieces, *self.rest))), default=0) >= 0
        )
        if not adds_up or not _HASH.fullmatch(self.sha256):
            raise StoreError(f"the recipe {name} does not add up to a file of {self.size_bytes} bytes; see `lde check`")

    @property
    def names(self) -> list[str]:
        """The names of the chunks, each once, in the order of their first use."""
        return list(dict.fromkeys(part.piece.name for part in self.parts()))

    def parts(self) -> Iterator[Part]:
        """The bytes of the file in their order."""
        pieces, rest = iter(self.pieces), _Stream(self.rest)
        for rest_bytes, n_pieces in self.order:
            yield from rest.take(rest_bytes)
            for _ in range(n_pieces):
                piece = next(pieces)
                yield Part(piece, 0, piece.size_bytes)


class _Stream:
    """Hands out the bytes of chunks one after the other."""

    def __init__(self, pieces: tuple[Piece, ...]) -> None:
        self._pieces = iter(pieces)
        self._piece = Piece("", 0)
        self._at = 0

    def take(self, size_bytes: int) -> Iterator[Part]:
        while size_bytes:
            if self._at == self._piece.size_bytes:
                self._piece, self._at = next(self._pieces), 0
                continue
            taken = min(size_bytes, self._piece.size_bytes - self._at)
            yield Part(self._piece, self._at, taken)
            self._at += taken
            size_bytes -= taken


def _pieces(given: object) -> tuple[Piece, ...]:
    if not isinstance(given, list):
        raise TypeError(f"expected a list of chunks, found {given!r:.80}")
    pieces = tuple(Piece(str(name), int(size_bytes)) for name, size_bytes in given)
    for piece in pieces:
        # Names become paths.
        if not _NAME.fullmatch(piece.name):
            raise ValueError(f"{piece.name!r:.80} is no name of a chunk")
    return pieces
