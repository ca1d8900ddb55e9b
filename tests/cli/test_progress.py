"""Progress stands on a terminal, in one line that is gone at the end, and nowhere else."""

from __future__ import annotations

import io
import sys

import pytest

from lightning_lde.cli import _progress
from lightning_lde.cli._progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines_of(written: str) -> list[str]:
    return written.split("\r\x1b[K")


def test_a_line_is_written_anew_and_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setattr(_progress, "QUIET_S", -1.0)
    monkeypatch.setattr(_progress, "_SHOWN_EVERY_S", -1.0)
    with progress("looking") as tell:
        tell("1 of 2")
        tell("2 of 2")
    assert lines_of(terminal.getvalue()) == ["looking", "1 of 2", "2 of 2", ""]


def test_what_is_soon_over_says_nothing_and_errors_find_a_clean_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())

    def fail() -> None:
        with progress() as tell:
            tell("1 of 2")
            raise OSError("away")

    with pytest.raises(OSError, match="away"):
        fail()
    assert lines_of(terminal.getvalue()) == ["", ""]


def test_a_pipe_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", pipe := io.StringIO())
    monkeypatch.setattr(_progress, "QUIET_S", -1.0)
    with progress("looking") as tell:
        tell("1 of 2")
    assert pipe.getvalue() == ""
