"""Unions of data sets: what they hold, what they are called, and tasks within one part."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.fewshot import Episodes, FewShotDataset, episode_loader, union

from .conftest import make_dataset


def part(name: str, *, n_classes: int = 12, size: int = 16, seed: int = 0) -> FewShotDataset:
    made = make_dataset(n_classes=n_classes, per_class=6, size=size, seed=seed)
    return dataclasses.replace(made, name=name, licence=f"licence of {name}")


ONE, TWO = part("one"), part("two", n_classes=18, seed=1)
BOTH = union("both", [ONE, TWO])


def test_a_union_holds_every_image_under_its_class() -> None:
    assert (BOTH.n_classes, len(BOTH)) == (30, 72 + 108)
    for one in (ONE, TWO):
        for number, name in enumerate(one.classes):
            mine = BOTH.images[BOTH.labels == BOTH.classes.index(f"{one.name}/{name}")]
            assert torch.equal(mine, one.images[one.labels == number])
    assert BOTH.class_splits == ONE.class_splits + TWO.class_splits
    assert BOTH.split("test").class_parts is not None
    assert len(BOTH.split("test").class_parts or ()) == BOTH.split("test").n_classes


def test_a_union_is_a_set_of_its_own_that_names_its_parts() -> None:
    facts = BOTH.lde_facts()
    assert facts["parts"] == ["one", "two"]
    assert facts["uri"] == f"union of one ({ONE.fingerprint[:12]}), two ({TWO.fingerprint[:12]})"
    assert facts["licence"] == "licence of one; licence of two"
    assert facts["fingerprint"] == BOTH.fingerprint
    assert len({BOTH.fingerprint, ONE.fingerprint, TWO.fingerprint, union("both", [TWO, ONE]).fingerprint}) == 4
    assert union("other name", [ONE, TWO]).fingerprint == BOTH.fingerprint
    assert BOTH.prepared(size=8, channels=3).split("train").lde_facts() == facts
    assert "parts" not in ONE.lde_facts()


def test_parts_of_different_forms_are_brought_to_one() -> None:
    colour = part("colour", size=12).prepared(size=12, channels=3)
    mixed = union("mixed", [ONE, colour, TWO])
    assert mixed.images.shape[1:] == (3, 12, 12)
    assert torch.equal(mixed.images[:72], ONE.prepared(size=12, channels=3).images)
    assert torch.equal(mixed.images[72:144], colour.images)
    assert mixed.preparation == ONE.prepared(size=12, channels=3).preparation
    assert union("small", [ONE, TWO], size=4).images.shape[1:] == (1, 4, 4)
    assert union("grey", [ONE, colour], channels=1).images.shape[1:] == (1, 12, 12)
    floats = [dataclasses.replace(one, images=one.images.flatten(1).float()) for one in (ONE, TWO)]
    assert torch.equal(union("floats", floats).images, torch.cat([one.images for one in floats]))


def test_a_union_of_splits_has_their_classes_only() -> None:
    trained = union("train", [ONE.split("train"), TWO.split("train")])
    assert set(trained.class_splits) == {"train"}
    assert trained.n_classes == 6 + 9
    assert f"one ({ONE.fingerprint[:12]})" in str(trained.source)


@settings(max_examples=40, deadline=None)
@given(
    split=st.sampled_from(["train", "all"]),
    ways=st.integers(2, 6),
    seed=st.integers(0, 2**64 - 1),
    index=st.integers(0, 99),
)
def test_within_a_part_a_task_has_classes_of_one_part(split: str, ways: int, seed: int, index: int) -> None:
    tasks = Episodes(BOTH, split=split, ways=ways, shots=1, queries=2, seed=seed, within="part")
    task = tasks[index]
    names = [BOTH.classes[one] for one in task.classes.tolist()]
    assert len(set(names)) == ways
    assert len({name.split("/")[0] for name in names}) == 1
    assert all(split in ("all", BOTH.class_splits[one]) for one in task.classes.tolist())
    again = tasks.__getitems__([0, index])[1]
    assert all(torch.equal(left, right) for left, right in zip(task, again, strict=True))


def test_parts_and_classes_within_them_are_equally_likely() -> None:
    tasks = Episodes(BOTH, split="all", ways=3, shots=1, queries=1, n_episodes=2000, within="part")
    drawn = torch.cat([batch.classes for batch in episode_loader(tasks, 500)])
    first = float((drawn < ONE.n_classes).all(1).float().mean())
    assert abs(first - 0.5) < 4 * np.sqrt(0.25 / 2000)
    counts = torch.bincount(drawn.flatten(), minlength=30)
    for found, n_classes in ((counts[:12], 12), (counts[12:], 18)):
        wanted = float(found.sum()) / n_classes
        assert (found - wanted).abs().max() < 5 * wanted**0.5


def test_without_within_tasks_mix_parts_and_are_as_they_were() -> None:
    tasks = Episodes(BOTH, split="all", ways=5, shots=1, queries=1)
    mixed = [len({int(one) < ONE.n_classes for one in task.classes}) == 2 for task in tasks]
    assert sum(mixed) > 50
    plain = dataclasses.replace(BOTH, class_parts=None)
    assert Episodes(plain, split="all", ways=5, shots=1, queries=1).episode_id(7) == tasks.episode_id(7)
    assert "within" not in tasks.lde_config()["settings"]
    inside = Episodes(BOTH, split="all", ways=5, shots=1, queries=1, within="part")
    assert inside.lde_config()["settings"]["within"] == "part"


def test_what_cannot_be_united_is_said() -> None:
    with pytest.raises(DataError, match="has 1 parts"):
        union("u", [ONE])
    with pytest.raises(DataError, match=r"several parts called \['one'\]"):
        union("u", [ONE, TWO, ONE])
    flat = dataclasses.replace(TWO, images=TWO.images.flatten(1).float())
    with pytest.raises(DataError, match="different types"):
        union("u", [ONE, flat])
    shorter = dataclasses.replace(flat, name="shorter", images=flat.images[:, :9].contiguous())
    with pytest.raises(DataError, match=r"shapes \[\(256,\), \(9,\)\]"):
        union("u", [flat, shorter])
    with pytest.raises(ConfigurationError, match="channels=2"):
        union("u", [ONE, TWO], channels=2)
    with pytest.raises(DataError, match="part 'one' in split 'train' of data set 'both' has 6 classes, too few for 7"):
        Episodes(BOTH, split="train", ways=7, shots=1, queries=1, within="part")
    with pytest.raises(ConfigurationError, match="within='parts'"):
        Episodes(BOTH, within="parts")  # type: ignore[arg-type]
