"""What a lake relies on in a store, as functions that raise ``AssertionError`` where a store breaks it."""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

from lightning_lde.errors import StoreError
from lightning_lde.lake.stores import Store

_ODD_NAMES = ("a b", "ä%20=ü", "project=a%2Fb/x", "quote'\"", "🙂")
_LONG_LISTING = 1002  # object stores answer a listing in pages of 1000


def what_was_put_comes_back(store: Store, folder: Path) -> None:
    """Files have the bytes that were put, from memory or from a file, and their sizes in listings."""
    source = folder / "big.bin"
    source.write_bytes(os.urandom(3_000_000))
    store.put("a/b/one", b"1")
    store.put("a/b/empty", b"")
    store.put_file("a/c/two", source)
    _same(store.get("a/b/one"), b"1", "a small file")
    _same(store.get("a/b/empty"), b"", "an empty file")
    _same(store.get("a/c/two") == source.read_bytes(), True, "a file of three megabytes is as its source")
    found = {(file.path, file.size_bytes) for file in store.list("a/")}
    _same(found, {("a/b/one", 1), ("a/b/empty", 0), ("a/c/two", 3_000_000)}, "paths and sizes in a listing")


def a_put_replaces(store: Store, folder: Path) -> None:
    """The second of two writes under one name stays."""
    store.put("x", b"long content")
    store.put("x", b"new")
    _same(store.get("x"), b"new", "a file that was put twice")


def existence_and_deletion(store: Store, folder: Path) -> None:
    """A file exists from its put to its deletion; deleting twice is no error; a folder is no file."""
    _same(store.exists("a/x"), False, "existence before the put")
    store.put("a/x", b"1")
    _same(store.exists("a/x"), True, "existence after the put")
    _same(store.exists("a"), False, "existence of the folder above a file")
    store.delete("a/x")
    store.delete("a/x")
    _same(store.exists("a/x"), False, "existence after the deletion")
    _same(_paths(store, "a/"), [], "the listing after the deletion")


def sizes(store: Store, folder: Path) -> None:
    """The size of a file is that of its bytes, None where there is no file."""
    _same(store.size("a/x"), None, "the size before the put")
    store.put("a/x", b"123")
    _same(store.size("a/x"), 3, "the size after the put")
    _same(store.size("a"), None, "the size of the folder above a file")
    store.delete("a/x")
    _same(store.size("a/x"), None, "the size after the deletion")


def a_file_goes_in_only_with_its_hash(store: Store, folder: Path) -> None:
    """A source that has another hash than was asked for leaves nothing in the store."""
    source = folder / "source"
    source.write_bytes(b"content")
    store.put_file("a/x", source, sha256=hashlib.sha256(b"content").hexdigest())
    _same(store.get("a/x"), b"content", "a file with the right hash")
    _raises(StoreError, lambda: store.put_file("a/y", source, sha256="0" * 64), "source")
    _same(_paths(store, "a/"), ["a/x"], "the listing after a refused file")


def a_missing_source_is_named(store: Store, folder: Path) -> None:
    """Storing a file that is not there raises ``FileNotFoundError`` with its name, and stores nothing."""
    _raises(FileNotFoundError, lambda: store.put_file("a/x", folder / "nothing.ckpt"), "nothing.ckpt")
    _same(_paths(store, "a/"), [], "the listing after it")


def a_missing_file_says_so(store: Store, folder: Path) -> None:
    """Reading a file that is not there raises ``FileNotFoundError``."""
    _raises(FileNotFoundError, lambda: store.get("nothing/here"), "")


def a_listing_has_what_is_below_its_prefix(store: Store, folder: Path) -> None:
    """A listing of nothing is empty, and one of a prefix does not reach beside it."""
    _same(_paths(store, "nothing/"), [], "a listing of nothing")
    store.put("hot/x", b"1")
    store.put("hotter/y", b"1")
    _same(_paths(store, "hot/"), ["hot/x"], "the listing of a prefix")


def a_listing_says_when(store: Store, folder: Path) -> None:
    """A listing has the time of each write, by which what nobody needs is told from what is being written."""
    store.put("a/x", b"1")
    [found] = store.list("a/")
    _same(found.modified_at is not None and found.modified_at.tzinfo is not None, True, "whether a time is known")
    apart = abs(datetime.now(timezone.utc) - (found.modified_at or datetime.min.replace(tzinfo=timezone.utc)))
    _same(apart < timedelta(hours=1), True, f"whether {found.modified_at} is about now")


def a_long_listing_is_whole(store: Store, folder: Path) -> None:
    """A listing has all files, however many pages the storage answers it in."""
    names = [f"many/{number:04d}" for number in range(_LONG_LISTING)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: store.put(name, b"1"), names))
    _same(_paths(store, "many/"), names, "the listing of many files")


def odd_names_are_names(store: Store, folder: Path) -> None:
    """Spaces, percent signs, quotation marks and letters of any script may stand in a path."""
    for name in _ODD_NAMES:
        store.put(f"d/{name}", name.encode())
    for name in _ODD_NAMES:
        _same(store.get(f"d/{name}"), name.encode(), f"the file of the name {name!r}")
    _same(_paths(store, "d/"), sorted(f"d/{name}" for name in _ODD_NAMES), "the listing of odd names")


def readers_see_whole_files(store: Store, folder: Path) -> None:
    """Who reads a file while it is replaced sees one of its contents, never a part or a mixture."""
    contents = {bytes([letter]) * 400_000 for letter in b"abc"}
    store.put("x", next(iter(contents)))
    stop = threading.Event()

    def look() -> list[bytes]:
        strange: list[bytes] = []
        while not stop.is_set():
            found = store.get("x")
            if found not in contents:
                strange.append(found[:20])
        return strange

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(look) for _ in range(3)]
        try:
            for content in [*contents] * 5:
                store.put("x", content)
        finally:
            stop.set()
        _same([strange for reader in readers for strange in reader.result()], [], "contents that were never put")


def writers_of_one_name_agree(store: Store, folder: Path) -> None:
    """Where several write one name at once, one of them wins with the whole of its bytes."""
    contents = [bytes([letter]) * 200_000 for letter in b"abcdefgh"]
    with ThreadPoolExecutor(len(contents)) as pool:
        list(pool.map(lambda content: store.put("w/x", content), contents))
    _same(store.get("w/x") in contents, True, "the file is one of those that were put")
    _same(_paths(store, "w/"), ["w/x"], "the listing after them")


def a_file_is_created_once(store: Store, folder: Path) -> None:
    """Of several that create one name at once, one is told so, and its bytes stay."""
    contents = [bytes([letter]) * 100 for letter in b"abcdefgh"]
    with ThreadPoolExecutor(len(contents)) as pool:
        made = list(pool.map(lambda content: store.create("c/x", content), contents))
    _same(made.count(True), 1, "how many made the file")
    _same(store.get("c/x"), contents[made.index(True)], "the file that was made")
    _same(store.create("c/x", b"later"), False, "creating what is there")
    _same(_paths(store, "c/"), ["c/x"], "the listing after them")


def a_copy_works(store: Store, folder: Path) -> None:
    """A store can be pickled, as a process that is spawned needs it."""
    store.put("x", b"1")
    _same(pickle.loads(pickle.dumps(store)).get("x"), b"1", "the file in the copy")  # noqa: S301


def arrow_reads_the_same_files(store: Store, folder: Path) -> None:
    """The pyarrow file system has the store's files below its root."""
    store.put("d/x", b"123")
    filesystem, root = store.arrow_filesystem()
    with filesystem.open_input_stream(f"{root}/d/x") as stream:
        _same(stream.read(), b"123", "the file through pyarrow")


STORE_CHECKS: tuple[Callable[[Store, Path], None], ...] = (
    what_was_put_comes_back,
    a_put_replaces,
    existence_and_deletion,
    sizes,
    a_file_goes_in_only_with_its_hash,
    a_missing_source_is_named,
    a_missing_file_says_so,
    a_listing_has_what_is_below_its_prefix,
    a_listing_says_when,
    a_long_listing_is_whole,
    odd_names_are_names,
    readers_see_whole_files,
    writers_of_one_name_agree,
    a_file_is_created_once,
    a_copy_works,
    arrow_reads_the_same_files,
)
"""The promises. Each takes an empty store and an empty folder of this machine; with pytest::

    @pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
    def test_my_store(check, tmp_path):
        check(MyStore(...), tmp_path)
"""


def _paths(store: Store, prefix: str) -> list[str]:
    return sorted(file.path for file in store.list(prefix))


def _same(found: object, expected: object, what: str) -> None:
    if found != expected:
        raise AssertionError(f"{what}: expected {_short(expected)}, found {_short(found)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}…"


def _raises(error: type[Exception], action: Callable[[], object], words: str) -> None:
    try:
        action()
    except error as caught:
        if words not in str(caught):
            raise AssertionError(f"{error.__name__} should say {words!r}, it says: {caught}") from caught
        return
    raise AssertionError(f"expected {error.__name__}, nothing was raised")
