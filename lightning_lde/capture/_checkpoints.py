"""The fingerprint of the weights in a checkpoint file, without running what is pickled in it and without loading it."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_lde.capture._weights import add_to_digest

if TYPE_CHECKING:
    from torch import Tensor

_DTYPES = {
    "BFloat16Storage": "bfloat16",
    "BoolStorage": "bool",
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "ShortStorage": "int16",
}


def checkpoint_fingerprint(path: Path) -> str | None:
    """The fingerprint that `weights_fingerprint` gives to the weights in a file of ``torch.save``.

    The weights are what stands under ``"state_dict"``, as in Lightning's checkpoints, or the whole file where it holds
    nothing but tensors. One tensor at a time is in memory. Of all classes and functions that the file names, none is
    imported or called.

    Args:
        path: The file.

    Returns:
        32 hexadecimal digits, None where the file has another form or tensors of a kind that is not known here.

    Example:
        >>> import tempfile, torch
        >>> from lightning_lde.capture import weights_fingerprint
        >>> module = torch.nn.Linear(2, 1)
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     torch.save({"state_dict": module.state_dict(), "epoch": 1}, file.name)
        ...     checkpoint_fingerprint(Path(file.name)) == weights_fingerprint(module)
        True
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _fingerprint(_Storages(archive))
    except Exception:
        # Any file may be called a checkpoint; one that cannot be read has no fingerprint.
        return None


class _View(NamedTuple):
    """A tensor as it is pickled: a view of a storage."""

    storage: tuple[str, str]
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Unknown:
    """Stands for whatever a class or function of the file would have made."""

    def __init__(self, *args: Any) -> None:
        pass

    def __call__(self, *args: Any) -> _Unknown:
        return self

    def __setstate__(self, state: object) -> None:
        """Nothing is made of it."""

    def __setitem__(self, key: object, value: object) -> None:
        """Nothing is made of it."""

    def append(self, item: object) -> None:
        """Nothing is made of it."""

    def extend(self, items: object) -> None:
        """Nothing is made of it."""

    def add(self, item: object) -> None:
        """Nothing is made of it."""


class _Reader(pickle.Unpickler):
    """Reads plain containers, numbers and words; nothing that the file names is imported."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name in _REBUILD:
            return _REBUILD[name]
        return name if module.startswith("torch") and name in _DTYPES else _Unknown

    def persistent_load(self, words: Any) -> tuple[str, str]:
        _, kind, key, *_ = words
        return _DTYPES[kind], str(key)


def _view(storage: tuple[str, str], offset: int, size: Any, stride: Any, *_: Any) -> _View:
    return _View(storage, offset, tuple(size), tuple(stride))


def _same(view: _View, *_: Any) -> _View:
    return view


_REBUILD = {"_rebuild_tensor_v2": _view, "_rebuild_parameter": _same}


class _Storages:
    """The storages of a file; the one read last is kept, for tensors that share it."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        [pickled] = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        self._folder = pickled.removesuffix("data.pkl")
        self._last: tuple[str, bytearray] = ("", bytearray())

    def content(self) -> Any:
        with self._archive.open(f"{self._folder}data.pkl") as file:
            return _Reader(file).load()

    def is_little_endian(self) -> bool:
        name = f"{self._folder}byteorder"
        return name not in self._archive.namelist() or self._archive.read(name) == b"little"

    def tensor(self, view: _View) -> Tensor:
        import torch

        dtype, key = view.storage
        if self._last[0] != key:
            self._last = (key, bytearray(self._archive.read(f"{self._folder}data/{key}")))
        if not self._last[1]:
            return torch.empty(view.size, dtype=getattr(torch, dtype))
        whole = torch.frombuffer(self._last[1], dtype=getattr(torch, dtype))
        return whole.as_strided(view.size, view.stride, view.offset)


def _fingerprint(storages: _Storages) -> str | None:
    content = storages.content()
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not state or not storages.is_little_endian():
        return None
    if state is content and not all(isinstance(value, _View) for value in state.values()):
        return None
    if any(value is _Unknown or isinstance(value, _Unknown) for value in state.values()):
        return None
    digest = hashlib.sha256()
    for name in sorted(state, key=str):
        if isinstance(state[name], _View):
            add_to_digest(digest, str(name), storages.tensor(state[name]))
    return digest.hexdigest()[:32]
