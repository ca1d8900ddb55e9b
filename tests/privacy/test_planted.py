"""Secrets of more than 40 kinds, planted in every place, occur in no byte of the lake, the spool or the output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_lde import Lake
from tests.privacy.planting import all_bytes, forms, found_in, planted

PROGRAM = Path(__file__).with_name("leaky.py")
SECRETS = planted(20261125)
# A word that nothing tells to be a secret, but for the variable that holds it.
SECRETS["known by its name"] = ("the word correcthorse42battery stands here", "correcthorse42battery")
PAIRS = [(kind, secret) for kind, (_, secret) in SECRETS.items()]

# Next to the secrets of each place stands a word that must be there: a place that is not recorded proves nothing.
VISIBLE = {
    *{"visible-transform", "visible-name", "visible-uri", "visible-setting", "visible-metric", "visible-exception"},
    *{"visible-experiment", "visible-run", "visible-tag", "visible-key", "visible-checkpoint", "visible-event"},
    *{"visible-file", "visible-diff", "visible-variable", "visible-argument", "ipynb_visible_content"},
    *{"visible-project", "visible-snapshot"},
}


def _repository(folder: Path) -> None:
    def git(*words: str) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)

    git("init", "-q")
    (folder / "leaky.py").write_text(PROGRAM.read_text())
    (folder / "settings.txt").write_text("lr=0.1\n")
    git("add", ".")
    git("commit", "-qm", "x")
    git("remote", "add", "origin", f"https://ann:{SECRETS['setting'][1]}@git.example/visible.git")
    words = "\n".join(text for text, _ in SECRETS.values())
    (folder / "settings.txt").write_text(f"visible-diff\n{words}\n")
    (folder / "not_tracked.py").write_text(f"# visible-snapshot\n{words}\n")


def _run(tmp_path: Path, lake: str) -> subprocess.CompletedProcess[bytes]:
    folder = tmp_path / "repository"
    folder.mkdir()
    _repository(folder)
    texts = {kind: text for kind, (text, _) in SECRETS.items()}
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    variables = {f"TORCH_PLANTED_{n}": text for n, text in enumerate(texts.values())}
    # An argument or a variable cannot hold the whole of everything; each holds one text.
    known = {
        "DB_PASSWORD": SECRETS["setting"][1],
        "SMTP_PASSWORD": SECRETS["known by its name"][1],
        "TORCH_VISIBLE": "visible-variable",
    }
    command = [sys.executable, "leaky.py", str(tmp_path / "texts.json"), lake, str(tmp_path / "checkpoints")]
    argv = [*texts.values(), "--api-key", SECRETS["YAML"][1], "--note=visible-argument", f"-p={SECRETS['YAML'][0]}"]
    root = Path(__file__).parents[2]
    environment = {**os.environ, **variables, **known, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    return subprocess.run([*command, *argv], cwd=folder, env=environment, capture_output=True, timeout=240, check=False)


def _leaks(folder: Path) -> list[str]:
    return sorted({f"{kind} in {place}" for place, data in all_bytes(folder) for kind in found_in(data, PAIRS)})


@pytest.mark.slow
def test_no_planted_secret_reaches_lake_or_output(tmp_path: Path, lake_path: Path, own_spool: Path) -> None:
    done = _run(tmp_path, str(lake_path))
    assert b"failed as it should" in done.stdout, done.stderr.decode()[-3000:]
    assert _leaks(lake_path) == []
    assert _leaks(own_spool) == []
    assert found_in(done.stdout + done.stderr, PAIRS) == []
    everything = b"\n".join(data for _, data in all_bytes(lake_path))
    content = {"ipynb_visible_content": b'"cells"'}
    assert {word for word in VISIBLE if content.get(word, word.encode()) not in everything} == set()
    _checkpoints_load(lake_path, tmp_path)
    audit = subprocess.run(
        [sys.executable, "-m", "lightning_lde.cli", "audit", str(lake_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (audit.returncode, audit.stdout) == (0, f"nothing found in {lake_path}\n"), audit.stdout + audit.stderr


def _checkpoints_load(lake_path: Path, tmp_path: Path) -> None:
    """A checkpoint that was masked has the weights of the user's own, which still has its secrets."""
    import torch

    lake = Lake(lake_path)
    rows = lake.sql(
        "select path, object_id from artifacts where kind = 'checkpoint' and path like '%last%'"
    ).to_pylist()
    stored = tmp_path / "stored.ckpt"
    stored.write_bytes(lake.storage.get_object(rows[0]["object_id"]))
    ours, theirs = (torch.load(path, weights_only=False) for path in (stored, tmp_path / "checkpoints" / "last.ckpt"))
    assert theirs["hyper_parameters"]["password"] == SECRETS["setting"][1]
    assert set(ours["hyper_parameters"]["password"]) == {"*"}
    assert all(torch.equal(ours["state_dict"][name], value) for name, value in theirs["state_dict"].items())


@pytest.mark.slow
def test_no_planted_secret_waits_in_the_spool(tmp_path: Path, own_spool: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    done = _run(tmp_path, str(tmp_path / "file" / "lake"))
    assert b"failed as it should" in done.stdout, done.stderr.decode()[-3000:]
    assert list(own_spool.rglob("*.spool"))
    # The user's own files under a second name are theirs as they are, in a folder of their own.
    kept = list(own_spool.rglob("*.kept"))
    assert kept
    assert {path.parent.stat().st_mode & 0o777 for path in kept} == {0o700}
    assert [leak for leak in _leaks(own_spool) if ".kept" not in leak] == []
    assert found_in(done.stdout + done.stderr, PAIRS) == []
    everything = b"\n".join(data for _, data in all_bytes(own_spool))
    stored = {"visible-checkpoint", "visible-file", "ipynb_visible_content"}
    assert {word for word in VISIBLE - stored if word.encode() not in everything} == set()


def test_the_search_finds_every_form() -> None:
    for secret in ("aB7/xy+9Q-zz_1234", 'päss7"w\\ord 123'):
        for form in forms(secret):
            assert found_in(b"before " + form + b" after", [("it", secret)]) == ["it"]
    assert found_in(b"nothing", PAIRS) == []
