"""The programs of docs/diversity.md print what the page says they print."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "diversity.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n((?:(?!```).)*?)```\n\n```\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_has_programs_with_output() -> None:
    assert len(PROGRAMS) >= 2


@pytest.mark.parametrize(("program", "printed"), PROGRAMS, ids=range(len(PROGRAMS)))
def test_a_program_prints_what_the_page_says(program: str, printed: str) -> None:
    found = io.StringIO()
    with contextlib.redirect_stdout(found):
        exec(compile(program, "docs/diversity.md", "exec"), {})
    assert found.getvalue() == printed
