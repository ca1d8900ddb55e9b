"""Data packs: a small one written here, and the real ones where they are at hand."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from lightning_lde.errors import DataError
from lightning_lde.fewshot import FewShotDataset, load_pack, load_packs, save_pack, union

SHAPE = (4, 6, 3)
PIXELS = np.random.default_rng(0).integers(0, 256, (20, *SHAPE), dtype=np.uint8)
CLASSES = [f"c{one}" for one in range(10)]
INFO = {
    "name": "small",
    "shape": SHAPE,
    "classes": CLASSES,
    "class_split": ["train"] * 5 + ["test"] * 5,
    "licence": "MIT",
    "sources": [{"repo": "someone/something", "commit": "abc"}],
}


def write(path: Path, columns: dict[str, pa.Array], info: dict[str, object] | None) -> Path:
    table = pa.table(columns)
    if info is not None:
        table = table.replace_schema_metadata({"datapack": json.dumps(info)})
    pq.write_table(table, path, compression="zstd", row_group_size=7)
    return path


def columns(image_type: pa.DataType | None = None) -> dict[str, pa.Array]:
    image = pa.array([one.tobytes() for one in PIXELS], image_type or pa.binary(72))
    return {"image": image, "label": pa.array(np.arange(20) % 10, pa.int16())}


def test_a_pack_is_read_as_it_was_written(tmp_path: Path) -> None:
    pack = load_pack(write(tmp_path / "small.parquet", columns(), INFO))
    assert pack.images.is_contiguous()
    assert np.array_equal(pack.images.numpy().transpose(0, 2, 3, 1), PIXELS)
    assert pack.labels.tolist() == [one % 10 for one in range(20)]
    assert (pack.name, pack.classes, pack.licence) == ("small", tuple(CLASSES), "MIT")
    assert pack.source == "github.com/someone/something@abc"
    assert pack.split("test").n_classes == 5


def test_load_packs_leaves_out_text_and_small_sets(tmp_path: Path) -> None:
    write(tmp_path / "b.parquet", columns(), INFO)
    write(tmp_path / "a.parquet", columns(), {**INFO, "name": "a"})
    write(tmp_path / "few.parquet", columns(), {**INFO, "class_split": ["train"] * 6 + ["test"] * 4})
    text = {"text": pa.array(["x"]), "label": pa.array([0], pa.int16())}
    write(tmp_path / "text.parquet", text, INFO)
    assert [one.name for one in load_packs(tmp_path)] == ["a", "small"]
    assert [one.name for one in load_packs(tmp_path, names=["b", "few"])] == ["small"]
    assert len(load_packs(tmp_path, min_classes=4)) == 3


@pytest.mark.parametrize(
    ("content", "info", "message"),
    [
        ({"text": pa.array(["x"])}, INFO, "no images"),
        (columns(), None, "lacks the metadata key 'datapack'"),
        (columns(), {"name": "x"}, r"lacks \['classes', 'class_split', 'shape'\]"),
        (columns(), {**INFO, "shape": [5, 5, 3]}, r"needs fixed_size_binary\[75\]"),
        (columns(pa.binary()), INFO, r"needs fixed_size_binary\[72\]"),
        (columns(), {**INFO, "classes": CLASSES[:9], "class_split": ["test"] * 9}, "from 0 to 9"),
    ],
)
def test_what_is_no_image_pack_is_refused(
    tmp_path: Path, content: dict[str, pa.Array], info: dict[str, object] | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load_pack(write(tmp_path / "odd.parquet", content, info))


def test_missing_and_broken_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"not parquet")
    for name in ("broken", "absent"):
        with pytest.raises(DataError, match="cannot be read as Parquet"):
            load_packs(tmp_path, names=[name])
    with pytest.raises(DataError, match="is no folder"):
        load_packs(tmp_path / "nowhere")


def test_a_saved_pack_is_the_same_set(tmp_path: Path, dataset: FewShotDataset) -> None:
    colour = load_pack(write(tmp_path / "small.parquet", columns(), INFO))
    both = union("both", [dataset, colour])
    for one in (dataset, colour, both, both.split("test")):
        read = load_pack(save_pack(one, tmp_path / "saved.parquet"))
        assert read.fingerprint == one.fingerprint
        kept = ("name", "classes", "class_splits", "licence", "source", "preparation", "class_parts")
        assert [getattr(read, name) for name in kept] == [getattr(one, name) for name in kept]
    table = pq.read_table(tmp_path / "saved.parquet")
    assert set(table["split"].to_pylist()) == {"test"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["saved.parquet", "small.parquet"]


def test_what_no_pack_can_hold_is_refused(tmp_path: Path, dataset: FewShotDataset) -> None:
    with pytest.raises(DataError, match="float32 samples"):
        save_pack(dataclasses.replace(dataset, images=dataset.images.float()), tmp_path / "x.parquet")
    with pytest.raises(OSError, match="nowhere"):
        save_pack(dataset, tmp_path / "nowhere" / "x.parquet")


def test_real_packs_have_the_counts_they_state(packs_folder: Path) -> None:
    for name in ("esc10_mel", "sign_digits"):
        pack = load_pack(packs_folder / f"{name}.parquet")
        info = json.loads(pq.read_schema(packs_folder / f"{name}.parquet").metadata[b"datapack"])
        assert list(pack.images.shape) == [info["count"], info["shape"][2], *info["shape"][:2]]
        assert list(pack.class_counts.values()) == info["per_class"]
        raw = pq.read_table(packs_folder / f"{name}.parquet")["image"][-1].as_py()
        last = torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(info["shape"])
        assert torch.equal(pack.images[-1].permute(1, 2, 0), last)


def test_real_text_pack_is_refused(packs_folder: Path) -> None:
    with pytest.raises(DataError, match="no images"):
        load_pack(packs_folder / "clinc150.parquet")
    assert load_packs(packs_folder, names=["clinc150", "trashnet"]) == []
