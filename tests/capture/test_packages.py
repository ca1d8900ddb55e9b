"""Where installed packages come from: by what installers write, pip itself among them, and by what git says."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from lightning_lde import Lake, Recorder
from lightning_lde.capture import _environment, capture_environment
from lightning_lde.capture._packages import installed_packages
from lightning_lde.schema import Environment, canonical_json, utc_now

COMMITS = "0123456789abcdef0123456789abcdef01234567", "f123456789abcdef0123456789abcdef01234567"


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    command = ["git", *identity, *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages on Python's path."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture(autouse=True)
def _read_anew() -> Iterator[None]:
    yield
    _environment._fixed_facts.cache_clear()


def environment_now() -> Environment:
    """The environment as a new process finds it."""
    _environment._fixed_facts.cache_clear()
    return capture_environment()


def install(site: Path, url: dict[str, Any] | str | None = None, *, record: str | None = None) -> None:
    about = site / "my_lib-1.0.dist-info"
    about.mkdir(exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: My_Lib\nVersion: 1.0\n")
    if url is not None:
        (about / "direct_url.json").write_text(url if isinstance(url, str) else json.dumps(url))
    if record is not None:
        (about / "RECORD").write_text(record)


def origin() -> dict[str, Any] | None:
    found = installed_packages()
    assert found.versions["my-lib"] == "1.0"
    return found.origins.get("my-lib")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "of ann" / "library"
    folder.mkdir(parents=True)
    (folder / "my_lib.py").write_text("X = 1\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_two_commits_of_an_editable_package_are_two_environments(site: Path, library: Path, tmp_path: Path) -> None:
    record = "__editable__.my_lib-1.0.pth,sha256=abc,20\nmy_lib-1.0.dist-info/direct_url.json,sha256=def,9\n"
    install(site, {"url": library.as_uri(), "dir_info": {"editable": True}}, record=record)
    first = environment_now()
    assert first.package_origins["my-lib"] == {
        "editable": True, "vcs": "git", "commit": git(library, "rev-parse", "HEAD"), "dirty": False,
    }  # fmt: skip
    assert environment_now().environment_id == first.environment_id
    (library / "my_lib.py").write_text("X = 2\n")
    changed = environment_now()
    assert changed.package_origins["my-lib"]["dirty"] is True
    git(library, "commit", "-q", "-a", "-m", "second")
    second = environment_now()
    assert len({row.environment_id for row in (first, changed, second)}) == 3
    # In another folder, as on another machine, the same commit is the same environment.
    git(tmp_path, "clone", "-q", str(library), "elsewhere")
    elsewhere = record.replace("sha256=abc", "sha256=ghi")
    install(site, {"url": (tmp_path / "elsewhere").as_uri(), "dir_info": {"editable": True}}, record=elsewhere)
    third = environment_now()
    assert third.environment_id == second.environment_id
    for row in (first, third):
        assert str(tmp_path) not in canonical_json(row.package_origins)
        assert "library" not in canonical_json(row.package_origins)


def test_an_editable_package_without_a_repository(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    url = {"url": tmp_path.as_uri(), "dir_info": {"editable": True}}
    install(site, url)
    assert origin() == {"editable": True}
    git(tmp_path, "init", "-q")
    assert origin() == {"editable": True}  # no commit yet
    install(site, {"url": (tmp_path / "gone").as_uri(), "dir_info": {"editable": True}})
    assert origin() == {"editable": True}


def test_the_commit_of_a_home_says_nothing_of_a_package(
    site: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, {"url": library.as_uri(), "dir_info": {"editable": True}})
    monkeypatch.setenv("HOME", str(library))
    assert origin() == {"editable": True}


def test_two_commits_of_a_package_from_a_repository_are_two_environments(site: Path) -> None:
    rows = []
    for commit in COMMITS:
        info = {"vcs": "git", "commit_id": commit, "requested_revision": "main"}
        url = "https://ann:hunter2@git.example/team/lib.git?token=hunter2"
        install(site, {"url": url, "vcs_info": info, "subdirectory": "python"})
        rows.append(environment_now())
    assert [row.package_origins["my-lib"]["commit"] for row in rows] == list(COMMITS)
    assert rows[0].package_origins["my-lib"]["url"] == "https://git.example/team/lib.git"
    assert rows[0].package_origins["my-lib"]["subdirectory"] == "python"
    assert rows[0].environment_id != rows[1].environment_id
    assert "hunter2" not in canonical_json(rows[0].package_origins)


@pytest.mark.parametrize(
    ("archive", "expected"),
    [
        ({"hash": "sha256=abc"}, {"archive_hash": "sha256:abc"}),
        ({"hash": "md5=1", "hashes": {"md5": "1", "sha256": "abc"}}, {"archive_hash": "sha256:abc"}),
        ({"hashes": {"sha512": "5"}}, {"archive_hash": "sha512:5"}),
        ({}, None),
    ],
)
def test_archives(site: Path, archive: dict[str, Any], expected: dict[str, str] | None) -> None:
    install(site, {"url": "file:///home/ann/my_lib-1.0.whl", "archive_info": archive})
    assert origin() == expected


@pytest.mark.parametrize("odd", ["", "{", "[]", '{"url": 3, "vcs_info": []}', '{"dir_info": {"editable": true}}'])
def test_what_no_installer_writes_costs_no_version(site: Path, odd: str) -> None:
    install(site, odd)
    assert origin() is None


def test_the_hash_of_files_is_that_of_their_hashes(site: Path) -> None:
    files = "my_lib.py,sha256=aaa,3\nmy_lib-1.0.dist-info/METADATA,sha256=bbb,9\n"
    install(site, record=files)
    of_files = origin()
    ordered = "my_lib-1.0.dist-info/METADATA,sha256=bbb,9\nmy_lib.py,sha256=aaa,3"
    assert of_files == {"files_hash": hashlib.sha256(ordered.encode()).hexdigest()[:32]}
    of_installers = (
        "../../../bin/my-lib,sha256=ccc,200\n__pycache__/my_lib.cpython-311.pyc,,\n"
        "my_lib-1.0.dist-info/INSTALLER,sha256=ddd,4\nmy_lib-1.0.dist-info/REQUESTED,sha256=eee,0\n"
        "my_lib-1.0.dist-info/RECORD,,\n"
    )
    install(site, record=of_installers + files)
    assert origin() == of_files
    install(site, record=files.replace("aaa", "aab"))
    assert origin() != of_files


def wheel(folder: Path, text: str) -> Path:
    """A wheel with a module and a command, made by hand."""
    about = "my_lib-1.0.dist-info"
    contents = {
        "my_lib.py": text,
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: my-lib\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": "[console_scripts]\nmy-lib = my_lib:main\n",
    }
    digests = {
        name: base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).decode().rstrip("=")
        for name, content in contents.items()
    }
    record = [f"{name},sha256={digests[name]},{len(content)}" for name, content in contents.items()]
    folder.mkdir()
    file = folder / "my_lib-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as packed:
        for name, content in contents.items():
            packed.writestr(name, content)
        packed.writestr(f"{about}/RECORD", "\n".join([*record, f"{about}/RECORD,,"]))
    return file


# Looking for pip as a module tells setuptools to leave distutils alone, and torch's compiler cannot start any more.
@pytest.mark.skipif(not any(metadata.distributions(name="pip")), reason="there is no pip")
def test_what_pip_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = {name: wheel(tmp_path / name, text) for name, text in {"one": "X = 1\n", "two": "X = 2\n"}.items()}
    found = {}
    for target, name, options in (("a", "one", []), ("b", "one", ["--no-compile"]), ("c", "two", [])):
        quiet = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", *options]
        command = [sys.executable, "-m", "pip", "install", *quiet, "--target", str(tmp_path / target)]
        subprocess.run([*command, str(wheels[name])], check=True, capture_output=True)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(tmp_path / target)
            found[target] = origin()
    assert found["a"] == found["b"]
    assert found["a"] is not None
    assert set(found["a"]) == {"archive_hash", "files_hash"}
    assert found["a"]["archive_hash"] == f"sha256:{hashlib.sha256(wheels['one'].read_bytes()).hexdigest()}"
    assert found["c"] is not None
    assert found["a"]["files_hash"] != found["c"]["files_hash"]


def test_this_installation() -> None:
    found = installed_packages()
    assert found.versions["torch"] == metadata.version("torch")
    assert len(found.origins["torch"]["files_hash"]) == 32
    text = metadata.distribution("lightning-lde").read_text("direct_url.json")
    if text is None or not json.loads(text).get("dir_info", {}).get("editable"):
        pytest.skip("this package is not installed for editing")
    folder = Path(unquote(urlsplit(json.loads(text)["url"]).path))
    assert found.origins["lightning-lde"]["commit"] == git(folder, "rev-parse", "HEAD")


def test_a_lake_keeps_origins_as_they_are(lake_path: Path) -> None:
    origins = {
        "access-token": {"files_hash": "0123456789abcdef" * 2, "archive_hash": f"sha256:{'0123456789abcdef' * 4}"},
        "google-auth": {"vcs": "git", "commit": COMMITS[0], "url": "https://git.example/a.git", "dirty": False},
    }
    with Recorder(lake_path, project="p", system_metrics_every_s=None) as run:
        row = Environment(environment_id="e", recorded_at=utc_now(), python="3", platform="l", package_origins=origins)
        run.record("environments", row)
    [found] = Lake(lake_path).sql("select package_origins from environments where environment_id = 'e'").to_pylist()
    assert json.loads(found["package_origins"]) == origins
