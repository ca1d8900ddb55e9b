"""Source text of functions and classes as a hash, and whose it is: the user's or a library's."""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
import textwrap
from typing import Any

from lightning_lde.capture._access import get

_INSTALLED = re.compile(r"[\\/](?:site|dist)-packages[\\/]")
_KNOWN = {
    *{"torch", "torchvision", "torchaudio", "torchtext", "torchmetrics", "pytorch_lightning", "lightning"},
    *{"lightning_lde", "datasets", "numpy"},
}


def is_library(thing: object) -> bool:
    """Whether a class or function belongs to Python or an installed package, and not to the user's program.

    Its source then is a matter of the environment.

    Example:
        >>> from collections import Counter
        >>> is_library(Counter), is_library(len)
        (True, True)
    """
    module = get(thing, "__module__")
    if not isinstance(module, str) or module == "builtins" or module.partition(".")[0] in _KNOWN:
        return True
    if module.partition(".")[0] in sys.stdlib_module_names and module != "__main__":
        return True
    file = get(sys.modules.get(module), "__file__")
    return isinstance(file, str) and _INSTALLED.search(file) is not None


def source_hash(thing: Any) -> str | None:
    """32 hexadecimal digits over the source text of a class or function; over its code where it has no text.

    The indentation of the whole does not count.
    """
    try:
        text = textwrap.dedent(inspect.getsource(thing)).strip()
    except Exception:
        code = get(thing, "__code__")
        if code is None:
            return None
        # Sets among the constants have another order in every process.
        constants = [each for each in code.co_consts if isinstance(each, (bool, int, float, str, bytes))]
        text = repr((code.co_code, code.co_names, constants))
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:32]
