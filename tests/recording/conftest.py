"""Tests with a lake that is away need not wait as long for it as a user would."""

from __future__ import annotations

import pytest

from lightning_lde.recording import _recorder


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_recorder, "FINISH_PATIENCE_S", 0.4)
