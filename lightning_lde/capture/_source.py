"""Source text of functions and classes as a hash, and whose it is: the user's or a library's."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import re
import sys
import textwrap
import weakref
from typing import Any

from lightning_lde.capture._access import get

_INSTALLED = re.compile(r"[\\/](?:site|dist)-packages[\\/]")
_KNOWN = {
    *{"torch", "torchvision", "torchaudio", "torchtext", "torchmetrics", "pytorch_lightning", "lightning"},
    *{"lightning_lde", "datasets", "numpy"},
}
_hashes: weakref.WeakKeyDictionary[Any, str | None] = weakref.WeakKeyDictionary()
"""Of classes and functions that live; Python parses a whole file to find the text of a class."""


def is_library(thing: object) -> bool:
    """Whether a class or function belongs to Python or an installed package, and not to the user's program.

    Its source then is a matter of the environment.

    Example:
        >>> from collections import Counter
        >>> is_library(Counter), is_library(len)
        (True, True)
    """
    module = get(thing, "__module__")
    if not isinstance(module, str) or module == "builtins" or is_known_library(module):
        return True
    file = get(sys.modules.get(module), "__file__")
    return isinstance(file, str) and is_installed(file)


def is_known_library(module: str) -> bool:
    """Whether a module of that name is Python's own or of a package that is recorded by its version."""
    top = module.partition(".")[0]
    return top in _KNOWN or (top in sys.stdlib_module_names and module != "__main__")


def is_installed(file: str) -> bool:
    """Whether a module's file lies where packages are installed."""
    return _INSTALLED.search(file) is not None


def source_hash(thing: Any) -> str | None:
    """32 hexadecimal digits over the source text of a class or function; over its code where it has no text.

    The indentation of the whole does not count. Of a lambda it is the text of the expression alone.
    """
    try:
        known = _hashes.get(thing)
    except Exception:
        # Not to be weakly held, or of a class with an equality of its own.
        return _hash(thing)
    if known is None:
        known = _hashes[thing] = _hash(thing)
    return known


def _hash(thing: Any) -> str | None:
    try:
        text = _lambda_text(thing) if get(thing, "__name__") == "<lambda>" else None
        text = text or textwrap.dedent(inspect.getsource(thing)).strip()
    except Exception:
        code = get(thing, "__code__")
        if code is None:
            return None
        # Sets among the constants have another order in every process.
        constants = [each for each in code.co_consts if isinstance(each, (bool, int, float, str, bytes))]
        text = repr((code.co_code, code.co_names, constants))
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def _lambda_text(function: Any) -> str | None:
    """The expression of a lambda: there may be several on a line, and other things."""
    lines, first = inspect.findsource(function)
    text = "".join(lines)
    code = function.__code__
    found = [node for node in _lambdas(text) if node.lineno == first + 1]
    if len(found) > 1:
        # Its first instruction stands at the beginning of the line, wherever the lambda does.
        places = [(line, column) for line, _, column, _ in code.co_positions() if line and column]
        found = [node for node in found if all(_holds(node, place) for place in places)]
        found.sort(key=lambda node: (node.end_lineno or 0, node.end_col_offset or 0))
    return ast.get_source_segment(text, found[0]) if found else None


@functools.lru_cache(maxsize=16)
def _lambdas(text: str) -> list[ast.Lambda]:
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Lambda)]


def _holds(node: ast.Lambda, place: tuple[int, int]) -> bool:
    return (node.lineno, node.col_offset) <= place <= (node.end_lineno or 0, node.end_col_offset or 0)
