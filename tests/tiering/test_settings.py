"""The tiers in `lde policy`: a group whose first word may still be the lake, and a marker that keeps all else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lightning_lde import Lake
from lightning_lde.cli import app
from lightning_lde.errors import ConfigurationError
from lightning_lde.lake import LakeStorage
from lightning_lde.lake.tiers import require_apart


def lde(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture
def lake(lake_path: Path) -> str:
    Lake(lake_path).create()
    return str(lake_path)


def test_show_is_what_is_meant_without_a_word(lake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = lde("policy", "show", lake, "--format", "json")
    assert shown.exit_code == 0
    assert lde("policy", lake, "--format", "json").output == shown.output
    monkeypatch.setenv("LDE_URI", lake)
    assert lde("policy", "--format", "json").output == shown.output
    assert lde("policy", "--set", "capture=standard").exit_code == 0
    assert LakeStorage(lake).policy().capture == "standard"
    assert "Usage" in lde("policy", "--help").output


def test_settings_of_both_kinds_in_one_command(lake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    marker = Path(lake) / "lde.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "of a newer version": 1}))
    rule = "kind=checkpoint older_than=30d keep=best,last to=cold"
    done = lde("policy", "set", lake, "capture=minimal", "tiers.cold=cold", "--rule", rule, "--rule", "to=stay")
    assert done.exit_code == 0, done.output
    found = LakeStorage(lake).tiers()
    assert (found.cold_root, [str(one) for one in found.rules]) == (str(tmp_path / "cold"), [rule, "to=stay"])
    assert found.tier_id
    assert LakeStorage(lake).policy().capture == "minimal"
    assert lde("policy", "set", lake, "--drop-rule", "1").exit_code == 0
    assert [str(one) for one in LakeStorage(lake).tiers().rules] == ["to=stay"]
    content = json.loads(marker.read_text())
    assert (content["of a newer version"], content["tiers"]["id"]) == (1, found.tier_id)


@pytest.mark.parametrize("wrong", [["--drop-rule", "1"], ["--rule", "to=x"], ["tiers.x=1"], ["capture=x"], ["x"], []])
def test_what_is_wrong_changes_nothing(lake: str, wrong: list[str]) -> None:
    before = (Path(lake) / "lde.json").read_bytes()
    words = ["tiers.cold=/c", "capture=minimal", *wrong] if wrong else []
    assert lde("policy", "set", lake, *words).exit_code != 0
    assert (Path(lake) / "lde.json").read_bytes() == before


APART = [
    ("/a/lake", "/a/lake-cold"),
    ("/a/lake", "/b"),
    ("s3://b/lake", "s3://b/lake2"),
    ("s3://b/lake", "s3://c/lake"),
    ("/b/lake", "s3://b/lake"),
    ("s3://b/team/lake", "s3://b/team/cold"),
]
NOT_APART = [
    ("/a/lake", "/a/lake"),
    ("/a/lake", "/a/lake/cold"),
    ("/a/lake", "/a"),
    ("/a/lake", "/a/x/../lake/"),
    ("/a/lake", "file:///a/lake/cold"),
    ("s3://b/lake", "s3a://b/lake"),
    ("s3://b/lake", "s3://b//lake/x"),
    ("s3://b/lake", "s3://b"),
    ("gs://b/lake", "gcs://b/lake/cold"),
]


@pytest.mark.parametrize(("hot", "cold"), APART)
def test_roots_that_lie_apart(hot: str, cold: str) -> None:
    require_apart(hot, cold)
    require_apart(cold, hot)


@pytest.mark.parametrize(("hot", "cold"), NOT_APART)
def test_roots_in_one_another_are_refused(hot: str, cold: str) -> None:
    for one, other in ((hot, cold), (cold, hot)):
        with pytest.raises(ConfigurationError, match="one another"):
            require_apart(one, other)


def test_a_link_to_the_lake_is_the_lake(lake: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(lake)
    done = lde("policy", "set", lake, f"tiers.cold={tmp_path / 'link' / 'cold'}")
    assert isinstance(done.exception, ConfigurationError)
    assert LakeStorage(lake).tiers().cold_root is None


def test_tiers_that_are_not_understood_are_shown_as_such(lake: str) -> None:
    marker = Path(lake) / "lde.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "tiers": {"rules": [{"to": "moon"}]}}))
    shown = lde("policy", lake)
    assert shown.exit_code == 0
    assert "cannot be understood" in shown.output
    assert isinstance(lde("policy", "set", lake, "tiers.cold=/c").exception, ConfigurationError)
