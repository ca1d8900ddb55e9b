"""Submodules of a repository at a commit, and their code from the copies that are on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from lightning_lde.errors import ReproductionError
from lightning_lde.reproduce._changes import module_changes
from lightning_lde.reproduce._git import git

_LINK = "160000"


class Module(NamedTuple):
    """A submodule as a commit names it.

    Attributes:
        path: Where it lies in the repository that it belongs to.
        commit: Its own commit.
        source: The folder of git here that has this commit, None where there is none.
        inner: The submodules in it.
    """

    path: str
    commit: str
    source: Path | None
    inner: tuple[Module, ...] = ()


def modules_of(repository: Path, commit: str, diff: str | None = None) -> tuple[Module, ...]:
    """The submodules of a commit with uncommitted changes; nothing is fetched.

    Args:
        repository: The repository; its own copies of its submodules are looked for.
        commit: The commit.
        diff: The uncommitted changes, which may move a submodule to another commit.

    Raises:
        ReproductionError: If git does not know the commit.
    """
    own = Path(git(repository, "rev-parse", "--absolute-git-dir"))
    # In a linked working tree the two differ.
    shared = (repository / git(repository, "rev-parse", "--git-common-dir")).resolve()
    links: dict[str, str | None] = {**_links(shared, commit), **module_changes(diff)}
    return _modules((own, shared), repository, commit, links)


def missing_modules(modules: Iterable[Module], links: Iterable[str] = ()) -> list[str]:
    """Submodules that no copy here has at their commits, in words.

    Args:
        modules: The submodules.
        links: Paths that come in another way.
    """
    aside, found = set(links), []
    for module in modules:
        if module.path in aside:
            continue
        if module.source is None:
            found.append(f"{module.path} at {module.commit[:12]}")
        found += [f"{module.path}/{words}" for words in missing_modules(module.inner)]
    return found


def bring_modules(folder: Path, modules: Iterable[Module]) -> None:
    """Clone submodules from the copies that are here.

    Args:
        folder: The clone of the repository that they belong to.
        modules: The submodules, each with a source.

    Raises:
        ReproductionError: If one cannot be brought.
    """
    for module in modules:
        if module.source is None:
            raise ReproductionError(f"the submodule {module.path} is not here at commit {module.commit}")
        target = folder / module.path
        if not target.resolve().is_relative_to(folder.resolve()) or target.is_symlink():
            raise ReproductionError(f"the submodule {module.path!r} leads outside of the folder")
        # `git submodule update` would ask the network, and needs its rules loosened for folders.
        options = ("--quiet", "--shared", "--no-checkout", "--template=")
        git(folder, "clone", *options, str(module.source), str(target))
        git(target, "checkout", "--quiet", "--detach", module.commit)
        git(target, "remote", "remove", "origin")
        bring_modules(target, module.inner)


def _modules(
    homes: Iterable[Path], worktree: Path | None, commit: str, links: Mapping[str, str | None]
) -> tuple[Module, ...]:
    homes = list(homes)
    names = _names(homes[-1], commit) if links else {}
    found = []
    for path, wanted in sorted(links.items()):
        if wanted is None:
            continue
        below = worktree / path if worktree is not None and (worktree / path / ".git").exists() else None
        source = _source(homes, below, names.get(path, path), wanted)
        inner = () if source is None else _modules([source], below, wanted, dict(_links(source, wanted)))
        found.append(Module(path, wanted, source, inner))
    return tuple(found)


def _links(home: Path, commit: str) -> dict[str, str]:
    """Paths and commits of the submodules that a commit names."""
    entries = _ask(home, "ls-tree", "-r", "-z", commit).split("\0")
    parted = (entry.partition("\t") for entry in entries if entry.startswith(f"{_LINK} "))
    return {path: facts.split()[2] for facts, _, path in parted}


def _names(home: Path, commit: str) -> dict[str, str]:
    """Names of submodules by their paths."""
    try:
        answer = _ask(home, "config", "--blob", f"{commit}:.gitmodules", "-z", "--get-regexp", r"^submodule\..*\.path$")
    except ReproductionError:
        return {}
    pairs = (entry.partition("\n") for entry in answer.split("\0") if entry)
    return {path: key.removeprefix("submodule.").removesuffix(".path") for key, _, path in pairs}


def _source(homes: Iterable[Path], worktree: Path | None, name: str, commit: str) -> Path | None:
    places = [] if ".." in PurePosixPath(name).parts else [home / "modules" / name for home in homes]
    if worktree is not None:
        with contextlib.suppress(ReproductionError):
            places.append(Path(git(worktree, "rev-parse", "--absolute-git-dir")))
    for place in places:
        if place.is_dir():
            with contextlib.suppress(ReproductionError):
                _ask(place, "cat-file", "-e", f"{commit}^{{commit}}")
                return place
    return None


def _ask(home: Path, *question: str) -> str:
    # A submodule's folder of git names its working tree, which need not be there.
    return git(home, f"--git-dir={home}", f"--work-tree={home}", *question)
