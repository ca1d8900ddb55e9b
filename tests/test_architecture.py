"""Imports go down the floors of docs/architecture.md, and `import lightning_lde` is quick."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "lightning_lde"

# Each room and the rooms it may import from; everyone may use errors.
MAY_IMPORT = {
    "errors": set(),
    "columns": set(),
    "policy": set(),
    "current": {"recording"},
    "schema": {"columns"},
    "tiering": set(),
    "reproducing": set(),
    "capture": {"policy", "schema"},
    "erasing": {"lake", "query", "recording"},
    "lake": {"policy", "schema", "tiering"},
    "fewshot": set(),
    "diversity": set(),
    "statistics": set(),
    "recommend": set(),
    "recording": {"capture", "columns", "current", "lake", "policy", "reproducing", "schema", "system"},
    "interop": {"lake", "query", "schema"},
    # query fills the table that recommenders read; they know no lake.
    "query": {"lake", "recommend", "schema", "statistics"},
    "reproduce": {"capture", "lake", "policy", "query", "reproducing", "schema"},
    "system": set(),
    "testing": {"lake", "schema"},
    "_lightning": {"capture", "lake", "recording", "reproducing", "schema"},
    "callback": {"_lightning", "capture", "lake", "policy", "recording", "reproducing", "schema"},
    "automatic": {"callback"},
    # A callback of its own, the probes' networks, and the monitor; no lake: what it logs gets there as metrics do.
    "collecting": {"_lightning", "diversity", "fewshot"},
    "audit": {"capture", "lake", "policy", "recording", "schema"},
    "study": {
        *{"callback", "capture", "diversity", "fewshot", "lake", "query", "recording", "reproducing", "schema"},
        "statistics",
    },
    "ui": {"query", "recommend", "statistics", "study"},
    "cli": {
        "audit",
        "collecting",
        # The settings of the monitor, and its report, which a watch prints.
        "diversity",
        "erasing",
        "lake",
        "policy",
        "query",
        "recommend",
        "recording",
        "reproduce",
        "statistics",
        "study",
        "tiering",
        "ui",
    },
}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            origin = path.relative_to(PACKAGE.parent).parent.parts[: None if node.level == 1 else 1 - node.level]
            names = [".".join([*origin, *([node.module] if node.module else [])])]
        elif isinstance(node, ast.ImportFrom):
            bare = node.module == "lightning_lde"
            names = [f"{node.module}.{alias.name}" if bare else str(node.module) for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        parts = [name.split(".") for name in names]
        found |= {one[1] for one in parts if one[0] == "lightning_lde" and len(one) > 1}
    return found - {"__version__"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    here = room(path)
    if here == "__init__":
        return
    assert imported_rooms(path) - {here, "errors"} <= MAY_IMPORT[here]


def test_the_check_sees_a_wrong_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path / "lightning_lde")
    wrong = tmp_path / "lightning_lde" / "lake" / "_x.py"
    wrong.parent.mkdir(parents=True)
    wrong.write_text(
        "from lightning_lde import query\nfrom lightning_lde.callback import LDECallback\nfrom .. import ui\n"
    )
    assert imported_rooms(wrong) == {"query", "callback"}


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, lightning_lde; print(sorted({name.split('.')[0] for name in sys.modules}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("torch", "pytorch_lightning", "pyarrow", "duckdb", "numpy", "matplotlib", "sklearn"):
        assert f"'{heavy}'" not in found


def test_the_command_starts_without_torch() -> None:
    code = "import sys, lightning_lde.cli; print(sorted({name.split('.')[0] for name in sys.modules}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("torch", "pytorch_lightning", "matplotlib", "sklearn"):
        assert f"'{heavy}'" not in found


def test_names_that_are_imported_late_exist() -> None:
    import lightning_lde
    from lightning_lde import collecting, diversity, study

    for package in (lightning_lde, collecting, diversity, study):
        assert [name for name in package.__all__ if getattr(package, name, None) is None] == []
        with pytest.raises(AttributeError, match="nonsense"):
            getattr(package, "nonsense")  # noqa: B009  # an attribute that mypy would refuse
