"""Erasing a data set, a person and a text: what belongs to them goes, and nothing else."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import random
import zipfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lightning_lde.errors import ConfigurationError
from lightning_lde.lake import LakeStorage, Receipt, Request
from lightning_lde.lake.objects import Look, Piece, Recipe, StoredObject, chunk_path
from lightning_lde.policy import pseudonym
from lightning_lde.schema import Artifact, Event, Link, Result, new_run_id, records_to_arrow

from .planted import LONG_AGO, Planted, all_found_in, contents, embed, found_in, rows_of

NONE = timedelta(0)


@pytest.fixture
def storage(lake_path: Path) -> LakeStorage:
    made = LakeStorage(lake_path)
    made.initialise()
    return made


def erase(storage: LakeStorage, kind: str, *words: str) -> Receipt | None:
    return storage.erase(Request(kind, words), silent_for=NONE)


def run_ids(storage: LakeStorage) -> set[str]:
    snapshot = storage.snapshot()
    return {row["run_id"] for file in snapshot.files.get("runs", ()) for row in storage.read(file).to_pylist()} | {
        row["run_id"]
        for file in snapshot.cold.get("runs", ())
        for part in storage.read_groups(file)
        for row in part.to_pylist()
    }


@pytest.mark.parametrize("compacted", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_data_set_goes_with_its_runs_and_its_analysis(storage: LakeStorage, tmp_path: Path, compacted: bool) -> None:
    gone = [Planted(storage, name, dataset="patients").write(tmp_path) for name in ("ERASEME", "ALSOME")]
    stays = Planted(storage, "keeper", dataset="others").write(tmp_path)
    embed(storage, "patients")
    embed(storage, "others")
    if compacted:
        storage.compact(silent_for=NONE, grace=NONE)
    traces = [b"patients", *(trace for run in gone for trace in run.traces())]
    assert all_found_in(storage.store, traces)
    receipt = erase(storage, "dataset", "patients")
    assert receipt is not None
    assert found_in(storage.store, traces) == []
    assert run_ids(storage) == {stays.run_id}
    assert (len(receipt.runs), receipt.rows["embeddings"]["count"]) == (2, 1)
    assert len(rows_of(storage)["embeddings"]) == 1


@pytest.mark.slow
def test_a_data_set_that_was_only_evaluated_on_takes_those_runs_too(storage: LakeStorage, tmp_path: Path) -> None:
    gone = Planted(storage, "ERASEME", dataset="mine").write(tmp_path)
    episode = replace(gone.rows()["episodes"][0], dataset_id="tested", dataset_config_id=None)
    gone.append("episodes", records_to_arrow("episodes", [episode]), 30)
    erase(storage, "dataset", "tested")
    assert run_ids(storage) == set()
    assert found_in(storage.store, gone.traces()) == []


def add_result(storage: LakeStorage, result_id: str, things: list[tuple[str, str]]) -> None:
    """A result of an analysis that names its things in its figures, as a study's does, and links to them."""
    figures = {"points": [name for _, name in things]}
    row = Result(result_id=result_id, recorded_at=LONG_AGO, kind="correlation", project="p", figures=figures)
    links = [
        Link(source_kind="result", source_id=result_id, relation="derived_from", target_kind=kind, target_id=name,
             recorded_at=LONG_AGO)
        for kind, name in things
    ]  # fmt: skip
    storage.add_records("results", [row], project="p")
    storage.add_records("links", links, project="p")


@pytest.mark.parametrize("kind", ["run", "dataset"])
def test_results_go_with_what_they_were_computed_from(storage: LakeStorage, tmp_path: Path, kind: str) -> None:
    gone = Planted(storage, "ERASEME", dataset="patients").write(tmp_path)
    stays = Planted(storage, "keeper", dataset="others").write(tmp_path)
    both = [("run", gone.run_id), ("dataset", "patients"), ("run", stays.run_id), ("dataset", "others")]
    add_result(storage, "of both", both)
    add_result(storage, "of one", both[2:])
    erase(storage, kind, gone.run_id if kind == "run" else "patients")
    # The data set of the run goes too: the result that needed it is gone.
    assert found_in(storage.store, [b"patients", b"of both", *gone.traces()]) == []
    (row,) = rows_of(storage)["results"]
    assert "'of one'" in row
    assert run_ids(storage) == {stays.run_id}


def event(run_id: str, text: str) -> Event:
    return Event(run_id=run_id, segment=0, time=LONG_AGO, level="info", kind="k", message=text)


@pytest.mark.parametrize("how", [pytest.param("keep", marks=pytest.mark.slow), "pseudonymise"])
def test_a_person_goes_by_name_address_home_and_pseudonym(storage: LakeStorage, tmp_path: Path, how: str) -> None:
    policy = storage.policy()

    def named(kind: str, name: str) -> str:
        return pseudonym(kind, name, how, policy.salt)

    user, email = named("user", "annabel"), named("email", "ann@example.org")
    by_home = Planted(storage, "byhome1", text=f"/home/{user}/train.py").write(tmp_path)
    by_mail = Planted(storage, "bymail2", text=f"asked {email}").write(tmp_path)
    stays = Planted(storage, "keeper", text="annabella's and bob@example.org").write(tmp_path)
    names = Planted(storage, "words").write(tmp_path)
    row = names.rows()["datasets"][0]
    names.append("datasets", records_to_arrow("datasets", [replace(row, uri=f"/home/{user}/data")]), 40)
    storage.compact(silent_for=NONE, grace=NONE)
    erase(storage, "user", "annabel", "ann@example.org")
    assert run_ids(storage) == {stays.run_id, names.run_id}
    traces = [*by_home.traces(), *by_mail.traces(), b"ann@example.org"]
    traces += [user.encode(), email.encode()] if how == "pseudonymise" else [b"/home/annabel/"]
    assert found_in(storage.store, traces) == []
    # Another person's run keeps its data set, which was somewhere in the home of the person.
    assert any("<erased>" in row for row in rows_of(storage)["datasets"])


@pytest.mark.slow
def test_a_name_is_a_word_and_only_where_people_are_named(storage: LakeStorage, tmp_path: Path) -> None:
    network = Planted(storage, "keeper", text="the neural ann of joanna").write(tmp_path)
    before = contents(storage.store)
    network.append("events", records_to_arrow("events", [event(network.run_id, "ann-17 is a network")]), 40)
    code = replace(network.rows()["code"][0], working_directory="/srv/joanna")
    network.append("code", records_to_arrow("code", [code]), 41)
    preview = storage.preview_erase(Request("user", ("joann",)))
    assert preview.is_empty
    assert erase(storage, "user", "joann") is None
    assert {path: content for path, content in contents(storage.store).items() if path in before} == before


@pytest.mark.parametrize("compacted", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_text_goes_wherever_it_stands(storage: LakeStorage, tmp_path: Path, compacted: bool) -> None:
    text = 'Zoë "17"'
    whole = Planted(storage, text).write(tmp_path)
    stays = Planted(storage, "keeper").write(tmp_path)
    stays.append(
        "events", records_to_arrow("events", [event(stays.run_id, f"saw {text}"), event(stays.run_id, "x")]), 40
    )
    if compacted:
        storage.compact(silent_for=NONE, grace=NONE)
    receipt = erase(storage, "match", text)
    assert receipt is not None
    escaped = text.replace('"', '\\"')
    assert found_in(storage.store, [text.encode(), escaped.encode(), whole.run_id.encode()]) == []
    assert run_ids(storage) == {stays.run_id}
    assert len(rows_of(storage, stays.run_id)["events"]) == 2  # of three
    assert receipt.is_about(text)
    assert receipt.warnings == ()


@pytest.mark.slow
def test_a_writer_whose_row_had_the_text_may_go_on(storage: LakeStorage, tmp_path: Path) -> None:
    run, writer = Planted(storage, "keeper").write(tmp_path), new_run_id()
    run.append("events", records_to_arrow("events", [event(run.run_id, "the needle")]), 0, writer)
    erase(storage, "match", "the needle")
    run.append("events", records_to_arrow("events", [event(run.run_id, "later")]), 1, writer)
    assert any("later" in row for row in rows_of(storage, run.run_id)["events"])


def test_a_text_in_files_goes_with_their_rows_even_across_chunks(storage: LakeStorage, tmp_path: Path) -> None:
    secret = b"\x00needle\xff" * 4
    run = Planted(storage, "keeper").write(tmp_path)
    stored = {"chunks": _across_a_border(storage, secret)}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", secret * 100)
    for name, content in {"plain": b"a" + secret, "zip": packed.getvalue(), "safe": b"none"}.items():
        (tmp_path / name).write_bytes(content)
        stored[name] = storage.put_artifact(tmp_path / name)
    files = [
        Artifact(
            run_id=run.run_id, segment=0, path=name, kind="file", size_bytes=one.size_bytes, object_id=one.object_id,
            recipe=one.recipe, recorded_at=LONG_AGO,
        )
        for name, one in stored.items()
    ]  # fmt: skip
    run.append("artifacts", records_to_arrow("artifacts", files), 40)
    storage.store.put("objects/ab/ab" + 62 * "0", b"orphan" + secret)
    receipt = erase(storage, "match", os.fsdecode(secret))
    assert receipt is not None
    names = {row.split("'path': '")[1].split("'")[0] for row in rows_of(storage, run.run_id)["artifacts"]}
    assert names == {"keeper.ckpt", "safe"}
    assert found_in(storage.store, [secret]) == []
    assert storage.get_object(stored["safe"].object_id, stored["safe"].recipe) == b"none"
    with pytest.raises(FileNotFoundError):
        storage.get_object(stored["chunks"].object_id, stored["chunks"].recipe)
    assert run_ids(storage) == {run.run_id}


PACKED = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lambda content: lzma.compress(content, preset=0),
    "zip": lambda content: _zipped(content),
    "Parquet": lambda content: _as_parquet(content),
    "gzip in a zip": lambda content: _zipped(gzip.compress(content)),
}


@pytest.mark.parametrize(
    "way", [way if way in {"gzip", "Parquet"} else pytest.param(way, marks=pytest.mark.slow) for way in PACKED]
)
def test_a_text_packed_in_a_file_of_many_chunks_goes(storage: LakeStorage, tmp_path: Path, way: str) -> None:
    noise = random.Random(0).randbytes(4_000_000).hex()
    run = Planted(storage, "keeper").write(tmp_path)
    for name, word in {"gone": "NEEDLE", "safe": "nothing"}.items():
        (tmp_path / name).write_bytes(PACKED[way](f"{noise[:4_000_000]}{word}{noise[4_000_000:]}".encode()))
        one = storage.put_artifact(tmp_path / name)
        assert len(one.paths) > 3
        file = Artifact(
            run_id=run.run_id, segment=0, path=name, kind="file", size_bytes=one.size_bytes, object_id=one.object_id,
            recipe=one.recipe, recorded_at=LONG_AGO,
        )  # fmt: skip
        run.append("artifacts", records_to_arrow("artifacts", [file]), 40 + len(name + word))
    receipt = erase(storage, "match", "NEEDLE")
    assert receipt is not None
    names = {row.split("'path': '")[1].split("'")[0] for row in rows_of(storage, run.run_id)["artifacts"]}
    assert names == {"keeper.ckpt", "safe"}
    assert receipt.warnings == ()


def test_what_cannot_be_unpacked_is_said(storage: LakeStorage, tmp_path: Path) -> None:
    storage.put_object_bytes(gzip.compress(b"some NEEDLE or other")[:-9])
    Planted(storage, "NEEDLE").write(tmp_path)
    receipt = erase(storage, "match", "NEEDLE")
    assert receipt is not None
    assert receipt.warnings == ("1 files of objects are damaged, encrypted or away and could not be looked into",)


def _zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", content)
    return packed.getvalue()


def _as_parquet(content: bytes) -> bytes:
    text = content.decode()
    rows = [text[at : at + 50_000] for at in range(0, len(text), 50_000)]
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": rows}), buffer, compression="zstd", row_group_size=10)
    return buffer.getvalue()


def _across_a_border(storage: LakeStorage, secret: bytes) -> StoredObject:
    """A file whose chunks meet in the middle of a text: none of them holds it."""
    parts = [b"a" * 1000 + secret[:10], secret[10:] + b"b" * 1000]
    whole = b"".join(parts)
    recipe = Recipe(
        size_bytes=len(whole),
        sha256=hashlib.sha256(whole).hexdigest(),
        pieces=(),
        rest=tuple(Piece(_chunk(storage, part), len(part)) for part in parts),
        order=((len(whole), 0),),
    )
    return StoredObject(recipe.sha256, len(whole), _chunk(storage, recipe.to_bytes()), (), Look())


def _chunk(storage: LakeStorage, content: bytes) -> str:
    name = hashlib.sha256(content).hexdigest()
    storage.store.put(chunk_path(name), b"\0" + content)
    return name


@pytest.mark.slow
def test_a_project_of_that_name_goes_from_the_paths(storage: LakeStorage, tmp_path: Path) -> None:
    gone = Planted(storage, "inproject", project="Zoë's").write(tmp_path)
    stays = Planted(storage, "keeper").write(tmp_path)
    storage.add_records("datasets", gone.rows()["datasets"], project="Zoë's")
    storage.compact(silent_for=NONE, grace=NONE)
    storage.add_records("datasets", stays.rows()["datasets"], project="Zoë's")
    erase(storage, "match", "Zoë's")
    assert found_in(storage.store, ["Zoë's".encode(), b"Zo%C3%AB%27s", gone.run_id.encode()]) == []
    assert run_ids(storage) == {stays.run_id}
    assert any("keeper" in row for row in rows_of(storage)["datasets"])


def test_the_policy_of_the_lake_keeps_a_text_and_the_receipt_says_so(storage: LakeStorage) -> None:
    storage.set_policy(storage.policy().changed("parameters.deny", "zoe_number"))
    storage.add_records("events", [event(new_run_id(), "zoe_number 1")], project="p")
    receipt = erase(storage, "match", "zoe_number")
    assert receipt is not None
    assert receipt.warnings == ("the text still stands in lde.json, which erasing does not change",)


@pytest.mark.slow
def test_objects_that_rows_name_in_columns_are_no_longer_named(storage: LakeStorage, tmp_path: Path) -> None:
    run = Planted(storage, "keeper").write(tmp_path)
    erase(storage, "match", "secret text of keeper")
    rows = rows_of(storage)
    assert "snapshot_object" not in str(rows["code"])
    assert rows_of(storage, run.run_id)["artifacts"]
    assert found_in(storage.store, [b"secret text of keeper", run.objects["snapshot"].encode()]) == []


@pytest.mark.parametrize(
    ("kind", "words"),
    [("run", ()), ("user", ("ab",)), ("match", ("",)), ("match", ("one", "two")), ("everything", ("x",))],
)
def test_what_nobody_can_mean_is_refused(kind: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError):
        Request(kind, words)
