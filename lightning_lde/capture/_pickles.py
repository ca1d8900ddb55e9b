"""Texts in a pickle, and the names of secrets that they stand below. The pickle is read, never run."""

from __future__ import annotations

import contextlib
import io
import pickletools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from lightning_lde.capture._secrets import is_secret_key, looks_like_chance, may_be_secret_key


class PickledValue(NamedTuple):
    """A text, bytes that are text, or anything else that stands below the name of a secret.

    Attributes:
        begin: Where its own bytes begin in the pickle.
        end: Where they end.
        text: The text; of bytes one character for each, of a number its digits.
        kind: ``"text"``, ``"bytes"`` or ``"number"``.
        name: The name of a secret that it stands below, empty for none.
    """

    begin: int
    end: int
    text: str
    kind: str
    name: str


def pickled_values(data: bytes) -> list[PickledValue]:
    """What a pickle says, in the order in which it stands there.

    Below a name is what its value holds: items of lists, sets and dictionaries, attributes of objects, whatever is
    nested in them, and what is only referred to there and stands somewhere else. Not looked into are tensors, arrays
    and other objects that are made of numbers and words of their own (dates, patterns, dtypes): with a letter changed
    they would not load.

    Args:
        data: One pickle, or several one after the other. What cannot be read as a pickle ends it; what was read until
            there counts.

    Example:
        >>> import pickle
        >>> [(value.text, value.name) for value in pickled_values(pickle.dumps({"passwords": ["x9"], "lr": "y"}))]
        [('passwords', ''), ('x9', 'passwords'), ('lr', ''), ('y', '')]
    """
    reader, file = _Reader(), io.BytesIO(data)
    with contextlib.suppress(Exception):
        while True:
            for opcode, argument, position in pickletools.genops(file):
                reader.take(opcode.name, argument, position or 0, file.tell())
            reader.end()
            if data[file.tell() : file.tell() + 1] != _FIRST_BYTE:
                break
    reader.end()
    return reader.values(data)


_FIRST_BYTE = b"\x80"
_TEXTS = {"SHORT_BINUNICODE": 1, "BINUNICODE": 4, "BINUNICODE8": 8}
_BYTES = {"SHORT_BINBYTES": 1, "BINBYTES": 4, "BINBYTES8": 8, "BYTEARRAY8": 8, "SHORT_BINSTRING": 1, "BINSTRING": 4}
_NUMBERS = {"BININT": 0, "BININT2": 0, "LONG1": 1, "LONG4": 4}
_OTHERS = {
    *{"NONE", "NEWTRUE", "NEWFALSE", "INT", "LONG", "FLOAT", "BINFLOAT", "BININT1", "EXT1", "EXT2", "EXT4"},
    *{"PERSID", "NEXT_BUFFER", "STRING", "UNICODE"},
}
_NOTHING = {"PROTO", "FRAME", "READONLY_BUFFER", "STOP"}
_NEW = {"EMPTY_LIST", "EMPTY_TUPLE", "EMPTY_DICT", "EMPTY_SET"}

_SMALLEST_NUMBER, _MOST_BITS = 1000, 1000
_MOST_NUMBERS, _MOST_LEVELS = 100, 1000
_LONGEST_NAME = 200
_SHORTEST_KNOWN = 4
_HEAD = 4096

# What of a value goes where it stands below a secret's name: all of it; all but numbers; all but numbers and words.
_ITEM, _STATE, _ARGUMENT = 0, 1, 2
_UNSEEN = 3
# Made of words and numbers of their own.
_KEPT = {"torch", "numpy", "datetime", "re", "decimal", "fractions", "enum"}
_KEPT_CALLS = {"builtins getattr", "__builtin__ getattr"}
# Their arguments are what they hold.
_PLAIN = {"builtins", "__builtin__", "collections", "_codecs", "pathlib"}
# The second argument is an encoding.
_FIRST_ONLY = {"_codecs encode", "builtins bytearray", "__builtin__ bytearray"}


class _Leaf:
    """A value that lies in the pickle's bytes."""

    __slots__ = ("begin", "end", "is_fixed", "is_key", "kind", "name", "text")

    def __init__(self, begin: int, end: int, text: str, kind: str) -> None:
        self.begin, self.end, self.text, self.kind = begin, end, text, kind
        self.name = ""
        self.is_fixed = self.is_key = False


class _Group:
    """A value that holds others, each below a name or none, in one of the ways above."""

    __slots__ = ("held", "is_kept", "is_object", "parent", "way")

    def __init__(self, *, is_kept: bool = False, is_object: bool = False) -> None:
        self.held: list[tuple[str, _Leaf | _Group, int]] = []
        self.is_kept, self.is_object = is_kept, is_object
        self.parent: _Group | None = None
        self.way = _UNSEEN


class _Reference:
    """A group that was made before and is referred to."""

    __slots__ = ("group",)

    def __init__(self, group: _Group) -> None:
        self.group = group


# A text is a class or a function, `module name`; None is what says nothing.
_Value = _Leaf | _Group | _Reference | str | None


class _Reader:
    """The machine that a pickle is a program of, without what makes objects."""

    def __init__(self) -> None:
        self._stack: list[_Value] = []
        self._below: list[list[_Value]] = []
        self._memo: dict[int, _Value] = {}
        self._leaves: list[_Leaf] = []
        self._numbers: list[_Leaf] = []
        self._groups: list[_Group] = []
        self._keys: set[str] = set()

    def take(self, name: str, argument: Any, position: int, end: int) -> None:
        """Do one operation.

        Args:
            name: Its name in ``pickletools``.
            argument: Its argument.
            position: Where it begins.
            end: Where its argument ends.

        Raises:
            ValueError: If there is no such operation.
        """
        if name in _TEXTS:
            self._push_leaf(_Leaf(position + 1 + _TEXTS[name], end, argument, "text"))
        elif name in _BYTES:
            self._push_leaf(_Leaf(position + 1 + _BYTES[name], end, "", "bytes"))
        elif name in _NUMBERS:
            tells = abs(argument) >= _SMALLEST_NUMBER and argument.bit_length() < _MOST_BITS
            self._push(_Leaf(position + 1 + _NUMBERS[name], end, str(argument), "number") if tells else None)
        elif name in _OTHERS:
            self._push(None)
        elif name in _NEW:
            self._push(self._group())
        elif name in _STEPS:
            _STEPS[name](self, argument)
        elif name not in _NOTHING:
            raise ValueError(f"there is no operation {name!r} in a pickle")

    def end(self) -> None:
        """One pickle has ended; where it was cut off, what was not put into anything counts too."""
        for items in (*self._below, self._stack):
            rest = self._group()
            for before, item in zip([None, *items], items, strict=False):
                name = before.text if isinstance(before, _Leaf) and before.kind == "text" else ""
                self._link(rest, name, item, _ITEM)
        self._stack, self._below, self._memo = [], [], {}

    def values(self, data: bytes) -> list[PickledValue]:
        """What was found in all pickles.

        Args:
            data: All of their bytes.
        """
        for group in self._groups:
            is_setting = any(
                name.lower() in {"name", "key"} and isinstance(value, _Leaf) and is_secret_key(value.text)
                for name, value, _ in group.held
            )
            for name, value, way in group.held:
                if _announces(name, value, is_setting=is_setting):
                    self._name_all(group, value, name, way)
        for leaf in self._leaves:
            is_also_key = leaf.is_key and _is_word(leaf.text)
            if leaf.name and (is_also_key or (leaf.text in self._keys and is_secret_key(leaf.text))):
                # One object is the key and the value: the key has to stay.
                leaf.name = ""
        known = {leaf.text: leaf.name for leaf in self._leaves if leaf.name and _can_be_known(leaf.text)}
        leaves = sorted([*self._leaves, *self._numbers], key=lambda leaf: leaf.begin)
        found = (_value(leaf, data, known) for leaf in leaves)
        return [value for value in found if value is not None]

    def _push(self, value: _Value) -> None:
        self._stack.append(value)

    def _push_leaf(self, leaf: _Leaf) -> None:
        self._leaves.append(leaf)
        self._stack.append(leaf)

    def _pop(self) -> _Value:
        return self._stack.pop()

    def _top(self) -> _Value:
        value = self._stack[-1]
        return value.group if isinstance(value, _Reference) else value

    def _pop_to_mark(self) -> list[_Value]:
        items, self._stack = self._stack, self._below.pop()
        return items

    def _group(self, *, is_kept: bool = False, is_object: bool = False) -> _Group:
        group = _Group(is_kept=is_kept, is_object=is_object)
        self._groups.append(group)
        return group

    def _link(self, group: _Group, name: str, value: _Value, way: int) -> None:
        if isinstance(value, _Reference):
            # An object that is known here, as parents are to their children, is not held here.
            if value.group.is_object:
                return
            value = value.group
        elif isinstance(value, _Group) and value.parent is None:
            value.parent = group
        if not isinstance(value, (_Leaf, _Group)):
            return
        # Many numbers are data.
        if not isinstance(value, _Leaf) or value.kind != "number" or len(group.held) < _MOST_NUMBERS:
            group.held.append((name, value, way))

    def _extend(self, group: _Value, items: list[_Value]) -> None:
        """Add items without names; the second of ``("password", "x1")`` and of ``["--password", "x1"]`` has one."""
        if not isinstance(group, _Group):
            return
        before: _Value = None
        for item in items:
            name = before.text if isinstance(before, _Leaf) and isinstance(item, _Leaf) else ""
            is_pair = name.startswith("-") or (len(items) == 2 and not is_secret_key(getattr(item, "text", "")))
            self._link(group, name if is_pair else "", item, _ITEM)
            before = item

    def _set_items(self, group: _Value, items: list[_Value]) -> None:
        if not isinstance(group, _Group):
            return
        for key, value in zip(items[::2], items[1::2], strict=False):
            name = ""
            if isinstance(key, _Leaf) and key.kind == "text":
                name, key.is_key = key.text, True
                self._keys.add(name)
            self._link(group, name, value, _ITEM)

    def _sequence(self, items: list[_Value]) -> None:
        group = self._group()
        self._extend(group, items)
        self._push(group)

    def _dictionary(self, items: list[_Value]) -> None:
        group = self._group()
        self._set_items(group, items)
        self._push(group)

    def _call(self, function: _Value, arguments: Iterable[_Value], way: int) -> None:
        """Stand-in for what a function or a class makes of arguments."""
        name = function if isinstance(function, str) else ""
        module = name.split(" ")[0].split(".")[0]
        if name in _FIRST_ONLY:
            for each in arguments:
                if isinstance(each, _Group):
                    each.held = each.held[:1]
        made = self._group(is_kept=module in _KEPT or name in _KEPT_CALLS, is_object=module not in _PLAIN)
        for each in arguments:
            self._link(made, "", each, _STATE if module in _PLAIN else way)
        self._push(made)

    def _put(self, place: int) -> None:
        self._memo[place] = self._top()

    def _get(self, place: int) -> None:
        value = self._memo.get(place)
        self._push(_Reference(value) if isinstance(value, _Group) else value)

    def _pop_any(self, _: Any) -> None:
        if self._stack:
            self._pop()
        else:
            self._pop_to_mark()

    def _append(self, _: Any) -> None:
        item = self._pop()
        self._extend(self._top(), [item])

    def _appends(self, _: Any) -> None:
        items = self._pop_to_mark()
        self._extend(self._top(), items)

    def _set_item(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._set_items(self._top(), [key, value])

    def _set_many(self, _: Any) -> None:
        items = self._pop_to_mark()
        self._set_items(self._top(), items)

    def _tuple_of(self, n: int) -> None:
        items = [self._pop() for _ in range(n)]
        self._sequence(items[::-1])

    def _global_of_stack(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        words = []
        for part in (module, name):
            if isinstance(part, _Leaf):
                part.is_fixed = True
                words.append(part.text)
        self._push(" ".join(words))

    def _reduce(self, _: Any) -> None:
        arguments, function = self._pop(), self._pop()
        self._call(function, [arguments], _ARGUMENT)

    def _new_object(self, n_arguments: int) -> None:
        arguments = [self._pop() for _ in range(n_arguments)]
        self._call(self._pop(), arguments, _STATE)

    def _old_object(self, _: Any) -> None:
        function, *arguments = self._pop_to_mark()
        self._call(function, arguments, _ARGUMENT)

    def _build(self, _: Any) -> None:
        state = self._pop()
        if isinstance(made := self._top(), _Group):
            self._link(made, "", state, _STATE)

    def _persistent(self, _: Any) -> None:
        words = self._pop()
        for _name, part, _way in words.held if isinstance(words, _Group) else ():
            if isinstance(part, _Leaf):
                part.is_fixed = True
        self._push(None)

    def _name_all(self, holder: _Group, value: _Leaf | _Group, name: str, way: int) -> None:
        """Everything that a value holds stands below a name, but for what the value itself stands in."""
        if isinstance(value, _Group) and value.way <= way:
            return
        above = _above(holder) if isinstance(value, _Group) else set()
        waiting = [(value, way)]
        while waiting:
            value, way = waiting.pop()
            if isinstance(value, _Leaf):
                self._name_leaf(value, name, way)
            elif not value.is_kept and way < value.way and id(value) not in above:
                value.way = way
                waiting += [(each, max(way, its_way)) for _, each, its_way in value.held]

    def _name_leaf(self, leaf: _Leaf, name: str, way: int) -> None:
        if leaf.name or leaf.is_fixed or leaf.end - leaf.begin < 2:
            return
        if leaf.kind == "number":
            # A token may be a number of a vocabulary.
            if way == _ITEM and not name.lower().rstrip("s").endswith("token"):
                leaf.name = name
                self._numbers.append(leaf)
        elif way != _ARGUMENT or leaf.kind == "bytes" or not leaf.text.isalpha():
            leaf.name = name


_STEPS: Mapping[str, Callable[[_Reader, Any], None]] = {
    "MARK": lambda reader, _: _mark(reader),
    "POP": _Reader._pop_any,
    "POP_MARK": lambda reader, _: _forget(reader._pop_to_mark()),
    "DUP": lambda reader, _: reader._push(reader._stack[-1]),
    "LIST": lambda reader, _: reader._sequence(reader._pop_to_mark()),
    "TUPLE": lambda reader, _: reader._sequence(reader._pop_to_mark()),
    "FROZENSET": lambda reader, _: reader._sequence(reader._pop_to_mark()),
    "DICT": lambda reader, _: reader._dictionary(reader._pop_to_mark()),
    "TUPLE1": lambda reader, _: reader._tuple_of(1),
    "TUPLE2": lambda reader, _: reader._tuple_of(2),
    "TUPLE3": lambda reader, _: reader._tuple_of(3),
    "APPEND": _Reader._append,
    "APPENDS": _Reader._appends,
    "ADDITEMS": _Reader._appends,
    "SETITEM": _Reader._set_item,
    "SETITEMS": _Reader._set_many,
    "PUT": _Reader._put,
    "BINPUT": _Reader._put,
    "LONG_BINPUT": _Reader._put,
    "MEMOIZE": lambda reader, _: reader._put(len(reader._memo)),
    "GET": _Reader._get,
    "BINGET": _Reader._get,
    "LONG_BINGET": _Reader._get,
    "GLOBAL": lambda reader, words: reader._push(words),
    "STACK_GLOBAL": _Reader._global_of_stack,
    "INST": lambda reader, words: reader._call(words, reader._pop_to_mark(), _ARGUMENT),
    "OBJ": _Reader._old_object,
    "REDUCE": _Reader._reduce,
    "NEWOBJ": lambda reader, _: reader._new_object(1),
    "NEWOBJ_EX": lambda reader, _: reader._new_object(2),
    "BUILD": _Reader._build,
    "BINPERSID": _Reader._persistent,
}


def _mark(reader: _Reader) -> None:
    reader._below.append(reader._stack)
    reader._stack = []


def _forget(_: list[_Value]) -> None:
    """Values that are taken from the stack for nothing."""


def _above(group: _Group) -> set[int]:
    """The ids of a group and of those that it stands in."""
    found: set[int] = set()
    each: _Group | None = group
    while each is not None and id(each) not in found and len(found) < _MOST_LEVELS:
        found.add(id(each))
        each = each.parent
    return found


def _announces(name: str, value: _Leaf | _Group, *, is_setting: bool) -> bool:
    """Whether a name is that of a secret, as in ``redact``."""
    if not name or len(name) > _LONGEST_NAME:
        return False
    if is_secret_key(name) or (is_setting and name.lower() == "value"):
        return True
    return isinstance(value, _Leaf) and may_be_secret_key(name) and looks_like_chance(value.text)


def _is_word(text: str) -> bool:
    return text.isidentifier() and not any(char.isdigit() for char in text)


def _can_be_known(text: str) -> bool:
    """Whether a text that was found below a name is looked for where nothing announces it."""
    return len(text) >= _SHORTEST_KNOWN and not _is_word(text)


def _value(leaf: _Leaf, data: bytes, known: Mapping[str, str]) -> PickledValue | None:
    if leaf.is_fixed:
        return None
    text = leaf.text
    if leaf.kind == "bytes":
        if not leaf.name and not _is_text(data, leaf.begin, leaf.end):
            return None
        text = data[leaf.begin : leaf.end].decode("latin-1")
    name = leaf.name or known.get(text, "")
    return PickledValue(leaf.begin, leaf.end, text, leaf.kind, name)


def _is_text(data: bytes, begin: int, end: int) -> bool:
    if b"\0" in data[begin : min(end, begin + _HEAD)]:
        return False
    try:
        data[begin:end].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\0" not in data[begin:end]
