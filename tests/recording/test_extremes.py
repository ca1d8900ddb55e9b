"""What nobody should log, logged: stored as it is or refused with a word, and the rest unharmed."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer

from lightning_lde import Lake, LDECallback, Recorder

NAMES = 100_000


def record(path: Path, **options: Any) -> Recorder:
    recorder = Recorder(path, project="p", flush_every_s=0.1, **options)
    recorder.start_segment("run")
    return recorder


def finish(recorder: Recorder) -> Lake:
    assert recorder.finish_segment("finished")
    return Lake(recorder._storage.url)


def others(lake: Lake, query: str) -> list[dict[str, Any]]:
    """What a query says of the metrics in `others`: all but the ordinary one and the machine's."""
    logged = "select * from metrics where name <> 'plain' and context is distinct from 'system'"
    found: list[dict[str, Any]] = lake.sql(f"with others as ({logged}) {query}").to_pylist()
    return found


def refused(lake: Lake) -> list[str]:
    events = lake.sql("select message from events where kind = 'refused' order by message")
    found: list[str] = events.column("message").to_pylist()
    return found


def the_rest_is_there(lake: Lake) -> None:
    """The ordinary metric that every test logs beside what it is about."""
    assert lake.sql("select value from metrics where name = 'plain' order by step").column("value").to_pylist() == [
        0.5,
        1.5,
    ]
    assert lake.sql("select status from runs").to_pylist() == [{"status": "finished"}]


@pytest.mark.slow
def test_a_hundred_thousand_names_in_one_dict(lake_path: Path) -> None:
    recorder = record(lake_path)
    recorder.log({"plain": 0.5}, step=0)
    recorder.log({f"metric {number}": float(number) for number in range(NAMES)}, step=0)
    recorder.log({"plain": 1.5}, step=1)
    lake = finish(recorder)
    counted = others(
        lake,
        "select count(*) as n, count(distinct name) as names, "
        "count(*) filter (name = 'metric ' || cast(value as bigint)) as right from others",
    )
    assert counted == [{"n": NAMES, "names": NAMES, "right": NAMES}]
    the_rest_is_there(lake)


@pytest.mark.slow
def test_a_hundred_thousand_names_one_by_one(lake_path: Path) -> None:
    recorder = record(lake_path)
    recorder.log({"plain": 0.5}, step=0)
    for number in range(NAMES):
        recorder.log({f"metric {number}": float(number)}, step=number)
    recorder.log({"plain": 1.5}, step=1)
    lake = finish(recorder)
    counted = others(
        lake,
        "select count(*) as n, count(distinct name) as names, "
        "count(*) filter (name = 'metric ' || step and value = step) as right from others",
    )
    assert counted == [{"n": NAMES, "names": NAMES, "right": NAMES}]
    the_rest_is_there(lake)


NUMBERS: list[tuple[str, Any, float]] = [
    ("nan", math.nan, math.nan),
    ("inf", math.inf, math.inf),
    ("-inf", -math.inf, -math.inf),
    ("smallest", 5e-324, 5e-324),
    ("largest", 1.7976931348623157e308, 1.7976931348623157e308),
    ("-0.0", -0.0, -0.0),
    ("2**53 + 1", 2**53 + 1, float(2**53 + 1)),
    ("2**60 + 1", 2**60 + 1, float(2**60 + 1)),
    ("2**70", 2**70, float(2**70)),
    ("true", True, 1.0),
    ("float32", np.float32(0.1), float(np.float32(0.1))),
    ("float16", np.float16(0.1), float(np.float16(0.1))),
    ("int8", np.int8(-5), -5.0),
    ("uint64", np.uint64(2**64 - 1), float(2**64 - 1)),
    ("numpy bool", np.bool_(True), 1.0),
    ("numpy 0-d", np.array(0.25), 0.25),
    ("numpy 1", np.array([0.25]), 0.25),
    ("bfloat16", torch.tensor(0.1, dtype=torch.bfloat16), float(torch.tensor(0.1, dtype=torch.bfloat16))),
    ("half", torch.tensor(0.1, dtype=torch.float16), float(torch.tensor(0.1, dtype=torch.float16))),
    ("double", torch.tensor(0.1, dtype=torch.float64), 0.1),
    ("long", torch.tensor(2**53), float(2**53)),
    ("bool tensor", torch.tensor(True), 1.0),
    ("one element", torch.tensor([[0.5]]), 0.5),
    ("needs grad", torch.tensor(0.5, requires_grad=True), 0.5),
]


@pytest.mark.parametrize("together", [True, False])
def test_every_number_comes_back_bit_by_bit(lake_path: Path, together: bool) -> None:
    recorder = record(lake_path)
    recorder.log({"plain": 0.5}, step=0)
    given = {name: value for name, value, _ in NUMBERS}
    for values in [given] if together else [{name: value} for name, value in given.items()]:
        recorder.log(values, step=0)
    recorder.log({"plain": 1.5}, step=1)
    lake = finish(recorder)
    rows = others(lake, "select name, value from others")
    found = {row["name"]: struct.pack("<d", row["value"]) for row in rows if not math.isnan(row["value"])}
    assert found == {name: struct.pack("<d", value) for name, _, value in NUMBERS if not math.isnan(value)}
    assert [row["name"] for row in rows if math.isnan(row["value"])] == ["nan"]
    # Not every whole number is a 64-bit float; that it was rounded is said.
    assert sorted(message.split("'")[1] for message in refused(lake)) == ["2**53 + 1", "2**60 + 1", "uint64"]
    the_rest_is_there(lake)


def test_what_is_no_number_is_refused_by_name(lake_path: Path) -> None:
    class Strange:
        def __float__(self) -> float:
            raise ArithmeticError("not today")

    recorder = record(lake_path)
    recorder.log({"plain": 0.5}, step=0)
    bad = {
        "complex": 1j, "list": [1.0], "none": None, "vector": torch.ones(3), "empty": torch.ones(0),
        "huge": 10**400, "strange": Strange(), "complex tensor": torch.tensor(1j), "dict": {"a": 1.0},
    }  # fmt: skip
    recorder.log({**bad, "plain": 1.5}, step=1)
    lake = finish(recorder)
    assert sorted(message.split("'")[1] for message in refused(lake)) == sorted(bad)
    the_rest_is_there(lake)


ODD_NAMES = [
    "",
    " ",
    "\x00",
    "\x1b[31mred",
    "a\r\nb",
    "\u202eright to left",
    "\ud800",
    "'; drop table runs; --",
    "🙂" * 50,
]


def test_unprintable_names_are_kept_apart(lake_path: Path) -> None:
    recorder = record(lake_path)
    recorder.log({"plain": 0.5}, step=0)
    recorder.log({name: float(number) for number, name in enumerate(ODD_NAMES)}, step=0)
    recorder.log({"plain": 1.5}, step=1)
    lake = finish(recorder)
    rows = others(lake, "select name, value from others order by value")
    # A lone surrogate is no character of UTF-8.
    expected = [name.replace("\ud800", "\ufffd") for name in ODD_NAMES]
    assert [(row["name"], row["value"]) for row in rows] == list(zip(expected, map(float, range(99)), strict=False))
    the_rest_is_there(lake)


def test_names_of_a_hundred_kilobytes(lake_path: Path) -> None:
    names = [letter * 100_000 for letter in "xyz"]
    recorder = record(lake_path)
    recorder.log({"plain": 0.5}, step=0)
    for step in range(50):
        recorder.log(dict.fromkeys(names, float(step)), step=step)
    recorder.log({"plain": 1.5}, step=1)
    lake = finish(recorder)
    rows = others(lake, "select name, count(*) as n from others group by name")
    assert sorted((row["name"], row["n"]) for row in rows) == [(name, 50) for name in names]
    the_rest_is_there(lake)


@pytest.mark.parametrize("key", [7, None, ("a", "b"), b"bytes"])
def test_a_name_that_is_no_string_costs_nothing_else(lake_path: Path, key: Any) -> None:
    recorder = record(lake_path)
    recorder.log({"plain": 0.5}, step=0)
    recorder.log({key: 3.0, "beside": 4.0}, step=0)
    recorder.log({"plain": 1.5}, step=1)
    lake = finish(recorder)
    assert lake.sql("select value from metrics where name = 'beside'").to_pylist() == [{"value": 4.0}]
    named = lake.sql("select name from metrics where value = 3 and context is distinct from 'system'").to_pylist()
    assert named == [{"name": str(key)}] or (not named and len(refused(lake)) == 1)
    the_rest_is_there(lake)


@pytest.mark.parametrize("step", [2**63, -1, 1.5, "three", np.int64(7), torch.tensor(7)])
def test_a_step_that_is_no_small_integer_costs_nothing_else(lake_path: Path, step: Any) -> None:
    recorder = record(lake_path)
    recorder.log({"plain": 0.5}, step=0)
    recorder.log({"beside": 4.0}, step=step)
    recorder.log({"plain": 1.5}, step=1)
    lake = finish(recorder)
    rows = lake.sql("select step from metrics where name = 'beside'").to_pylist()
    try:
        same = bool(rows) and rows[0]["step"] == step
    except (TypeError, ValueError):
        same = False
    assert same or len(refused(lake)) == 1
    the_rest_is_there(lake)


class Opaque:
    """An object that JSON does not know, and that does not even print."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")


class Module(LightningModule):
    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        loss = self.layer(batch[0]).square().mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.fixture
def batches() -> Any:
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(8, 1)), batch_size=4)


HPARAMS: list[tuple[str, dict[str, Any]]] = [
    ("ten megabytes", {"text": "0123456789" * 1_000_000, "lr": 0.5}),
    ("opaque", {"thing": Opaque(), "lr": 0.5}),
    ("function", {"thing": lambda x: x, "lr": 0.5}),
    ("set and bytes", {"thing": {1, 2}, "raw": b"\xff\x00", "lr": 0.5}),
    ("module", {"thing": torch.nn.Linear(2, 2), "tensor": torch.ones(1000), "lr": 0.5}),
    ("not finite", {"thing": math.nan, "other": -math.inf, "lr": 0.5}),
    ("unprintable", {"\x00\x1b \ud800": "\ud800\x00", "lr": 0.5}),
    ("huge integer", {"thing": 10**400, "lr": 0.5}),
    ("deep", {"thing": json.loads("[" * 200 + "]" * 200), "lr": 0.5}),
    ("long name", {"n" * 100_000: 1, "lr": 0.5}),
]


@pytest.mark.parametrize("settings", [given for _, given in HPARAMS], ids=[name for name, _ in HPARAMS])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_strange_hyper_parameters_cost_nothing_else(
    lake_path: Path, tmp_path: Path, batches: Any, settings: dict[str, Any]
) -> None:
    trainer = Trainer(
        max_steps=2, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, default_root_dir=tmp_path,
        callbacks=[LDECallback(lake_path, project="p", flush_every_s=0.1, on_error="raise")],
    )  # fmt: skip
    trainer.fit(Module(**settings), batches)
    lake = Lake(lake_path)
    assert lake.sql("select status from runs").to_pylist() == [{"status": "finished"}]
    assert lake.sql("select value_num from params where key = 'lr'").to_pylist() == [{"value_num": 0.5}]
    assert lake.sql("select count(*) as n from metrics where name = 'loss'").to_pylist()[0]["n"] >= 1
    if "text" in settings:
        stored = lake.sql("select value_text from params where key = 'text'").column("value_text").to_pylist()
        said = lake.sql("select message from events").column("message").to_pylist()
        assert stored == [settings["text"]] or any("text" in message for message in said)
