"""Long texts are gone through in pieces: the same is found as in the whole, and no single step takes long."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
import torch.nn
from hypothesis import given
from hypothesis import strategies as st

from lightning_lde.capture import _pieces, _shapes, find_secrets, hide_emails, hide_names, redact_text
from lightning_lde.capture._access import clean_text

from .test_redaction import INNOCENT_TEXTS, TOKENS

PEM = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEpAIBAAK\n" * 9 + "-----END RSA PRIVATE KEY-----\n"
PLANTS = [
    *TOKENS,
    *INNOCENT_TEXTS,
    PEM,
    PEM[:90],
    "-----END RSA PRIVATE KEY-----",
    "PuTTY-User-Key-File-2: x\nAAAA\nPrivate-MAC: 12ab\n",
    "password = '''hunter2\nsecond\nthird'''\n",
    'api_key="""\nZm9v4TqX81bLpQr7vNw2\n"""',
    "api_key: str = 'Zm9v4TqX81bLpQr7vNw2'",
    'token = Secret("x9y8z7-1")',
    "x\\ntoken=abc123def\\ny",
    "https://ann:hunter2@host.example/a?sig=Zm9v4TqX81bLpQr7",
    "Authorization: Bearer abcdef123456789012345",
    "YW5uOmh1bnRlcjI=",
    "\u0130passİword='x1y2'",
    "machine h login ann password hunter2 ",
]
PEOPLE = [
    *["ann@example.org", "a.b+c@d.e-f.com(", "@dataclass\n", "git@github.com:x", "x@y.de@z.org", "a/b@c.de"],
    *["/home/bob/x", "\\Users\\carl\\y", "/home/Users/dora/", "ann on annes-laptop", "xannx <ann> ann"],
]


@contextmanager
def pieces_of(characters: int) -> Iterator[None]:
    with mock.patch.object(_pieces, "PIECE", characters), mock.patch.object(_shapes, "_SHORT", 0):
        yield


@st.composite
def texts(draw: st.DrawFn, plants: list[str]) -> str:
    filler = st.text(max_size=12) | st.sampled_from([" ", "\n", "+    x = 1\n", "=", "a" * 30, "key: ", "'", '"'])
    parts = draw(st.lists(filler | st.sampled_from(plants), max_size=12))
    return "".join(parts)


@given(text=texts(PLANTS), characters=st.integers(1, 90))
def test_the_same_is_found_in_pieces_of_any_size(text: str, characters: int) -> None:
    text = clean_text(text)
    with pieces_of(1 << 30):
        whole = find_secrets(text)
    with pieces_of(characters):
        assert find_secrets(text) == whole


@pytest.mark.parametrize("plant", [*TOKENS, *PLANTS[-15:]])
def test_a_secret_on_a_border_is_found_wherever_the_border_is(plant: str) -> None:
    text = f"+    x = 1  # a line of a diff\n+{plant}\n+    y = 2\n"
    with pieces_of(1 << 30):
        whole = redact_text(text)
    for characters in range(1, len(text), max(1, len(text) // 60)):
        with pieces_of(characters):
            assert redact_text(text) == whole


# What was said in one expression each before there were pieces.
_EMAIL = re.compile(
    r"(?<![\w.+@/-])(?!(?:git|hg|svn)@)[A-Za-z0-9][\w.+-]{0,63}@"
    r"(?:[A-Za-z0-9-]{1,63}\.){1,5}[A-Za-z]{2,24}(?![\w(\[.]*[(\[])"
)
_NAME = re.compile(r"(?<![A-Za-z0-9<])ann(?![A-Za-z0-9])")
_HOME = re.compile(r"(?:(?<=/home/)|(?<=/Users/)|(?<=\\Users\\))[^/\s\"'<>:\\]+")


@given(text=texts(PEOPLE), characters=st.integers(1, 40))
def test_people_are_found_as_by_one_expression(text: str, characters: int) -> None:
    with pieces_of(characters):
        assert hide_emails(text, "drop", "") == _EMAIL.sub("<email>", text)
        named = _NAME.sub("<user>", text)
        expected = _HOME.sub(lambda match: match[0] if match[0] in {"Users", "home"} else "<user>", named)
        assert hide_names(text, "drop", "", (("user", "ann"),)) == expected


@given(text=st.text(st.characters(codec=None), max_size=40), characters=st.integers(1, 9))
def test_lone_surrogates_become_escapes(text: str, characters: int) -> None:
    with pieces_of(characters):
        assert clean_text(text) == text.encode("utf-8", "backslashreplace").decode("utf-8")


def _large_diff() -> str:
    folder = Path(torch.nn.__file__).parent
    lines = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))).splitlines()
    diff = "\n".join(f"+{line}" + (f"  # token='{TOKENS[4]}'" if n % 999 == 0 else "") for n, line in enumerate(lines))
    return f"größe {diff}"[:1_000_000] + PEM


def test_no_step_keeps_other_threads_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    text, slow, rests = _large_diff(), list[tuple[float, str]](), list[float]()
    begun = 0.0

    def watch(_: object, event: str, function: object) -> None:
        nonlocal begun
        if event == "c_call":
            begun = time.thread_time()
        elif event == "c_return" and begun:
            slow.append((time.thread_time() - begun, getattr(function, "__name__", "?")))

    monkeypatch.setattr("lightning_lde.capture._pace.time.sleep", rests.append)
    sys.setprofile(watch)
    try:
        safe = redact_text(text)
    finally:
        sys.setprofile(None)
    assert TOKENS[4] not in safe
    assert "MIIEpAIBAAK" not in safe
    # Only C code keeps the interpreter for itself until it returns; in one piece, the first steps took 8 ms each.
    assert max(slow)[0] < 0.005, sorted(slow)[-3:]
    assert len(rests) > 10
