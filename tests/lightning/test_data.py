"""Data in real trainings: described behind the training's thread, without a sample, a random number or an iteration."""

from __future__ import annotations

import random
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset, Subset, TensorDataset

from lightning_lde import Lake, LDECallback, Recorder, capture
from lightning_lde._lightning import _facts
from lightning_lde.capture import _files
from lightning_lde.errors import ConfigurationError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "error::lightning_lde.errors.LDEWarning")


class Net(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val", torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test", torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        return self.net(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Augmented(Dataset[Any]):
    """Files with transforms that draw from every generator; knows on which thread it was asked."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.samples = [(str(path), number % 2) for number, path in enumerate(sorted(root.iterdir()))]
        self.transform = self.augment
        self.asked: list[threading.Thread] = []

    def augment(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand(1) * float(np.random.rand()) + random.random()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        self.asked.append(threading.current_thread())
        path, label = self.samples[index]
        return self.augment(torch.tensor(list(Path(path).read_bytes()), dtype=torch.float32)), label


class Counted(DataLoader[Any]):
    begun = 0

    def __iter__(self) -> Any:
        self.begun += 1
        return super().__iter__()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "files"
    root.mkdir()
    for number in range(24):
        (root / f"{number:02}.bin").write_bytes(bytes([number, 1, 2, 3]))
    return root


def trainer(place: Path, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    flags: dict[str, Any] = {"max_epochs": 2, "logger": False, "num_sanity_val_steps": 0, **options}
    return pl.Trainer(
        default_root_dir=place,
        accelerator="cpu",
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **flags,
    )


def _random_states() -> list[Any]:
    numbers = np.random.get_state()[1].tolist()  # type: ignore[index,union-attr]
    return [torch.get_rng_state().tolist(), numbers, random.getstate()]


def _fit(place: Path, folder: Path, *callbacks: pl.Callback) -> dict[str, Any]:
    pl.seed_everything(3, verbose=False)
    module, data = Net(), Augmented(folder)
    loader = Counted(data, 4, shuffle=True, generator=torch.Generator().manual_seed(5))
    trainer(place, *callbacks).fit(module, loader)
    return {
        "weights": [tensor.tolist() for tensor in module.state_dict().values()],
        "random": _random_states(),
        "generator": loader.generator.get_state().tolist(),
        "samples": len(data.asked),
        "iterations": loader.begun,
        "threads": set(data.asked),
    }


@pytest.mark.parametrize("fingerprint", ["cheap", "exact"])
def test_a_training_is_the_same_with_it(tmp_path: Path, folder: Path, fingerprint: str) -> None:
    plain = _fit(tmp_path, folder)
    lake = tmp_path / "lake"
    recorded = _fit(tmp_path, folder, LDECallback(lake, data_fingerprint=fingerprint))
    assert recorded == plain
    assert plain["threads"] == {threading.main_thread()}
    [row] = Lake(lake).sql("select fingerprint_method, size_bytes from datasets").to_pylist()
    assert row == {"fingerprint_method": "sha256 of 24 files", "size_bytes": 96}
    [run] = Lake(lake).sql("select seeds, dataset_config_id is not null as known from runs").to_pylist()
    assert run["known"]
    assert '"initial_seed":5' in run["seeds"]


def test_files_are_read_by_another_thread(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By whom each file is opened and measured, as the operating system's calls are."""
    readers: list[threading.Thread] = []
    update, measure = _files._update, _files._sizes_and_times

    def note_update(*arguments: Any) -> None:
        readers.append(threading.current_thread())
        update(*arguments)

    def note_sizes(paths: list[str]) -> Any:
        readers.extend(threading.current_thread() for _ in paths)
        return measure(paths)

    monkeypatch.setattr(_files, "_update", note_update)
    monkeypatch.setattr(_files, "_sizes_and_times", note_sizes)
    trainer(tmp_path, LDECallback(tmp_path / "lake")).fit(Net(), DataLoader(Augmented(folder), 4))
    assert len(readers) == 48
    assert threading.main_thread() not in readers


def _tensors(n: int, seed: int = 0) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randn(n, 4, generator=generator), torch.arange(n) % 2)


class Data(pl.LightningDataModule):
    def __init__(self, batch_size: int = 4) -> None:
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self) -> Any:
        return DataLoader(_tensors(16), self.batch_size, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(Subset(_tensors(16), [3, 1]), 2)

    def test_dataloader(self) -> Any:
        return DataLoader(_tensors(8, seed=1), 2)

    def predict_dataloader(self) -> Any:
        return DataLoader(_tensors(6, seed=2), batch_size=2)


def test_all_loaders_of_a_datamodule(tmp_path: Path) -> None:
    tool, data, module = trainer(tmp_path, LDECallback(tmp_path / "lake")), Data(), Net()
    tool.fit(module, datamodule=data)
    tool.test(module, datamodule=data, verbose=False)
    tool.predict(module, datamodule=data)
    found = Lake(tmp_path / "lake").sql(
        """select l.relation, d.n_samples as rows, c.n_samples as used, c.batch_size, c.indices_hash is null as all_rows
           from links l join dataset_configs c on c.dataset_config_id = l.target_id join datasets d using (dataset_id)
           where target_kind = 'dataset_config' order by all"""
    )
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        ("evaluated_on", 6, 6, 2, True),
        ("evaluated_on", 8, 8, 2, True),
        ("trained_on", 16, 16, 4, True),
        ("validated_on", 16, 2, 2, False),
    ]
    [config] = Lake(tmp_path / "lake").sql("select trainer, hparams from pipeline_configs limit 1").to_pylist()
    assert f"{__name__}.Data" in config["trainer"]
    assert '"datamodule":{"batch_size":4}' in config["hparams"]


class Stream(IterableDataset[Any]):
    def __init__(self, n: int) -> None:
        self.n = n

    def __iter__(self) -> Iterator[Any]:
        assert threading.current_thread() is threading.main_thread()
        for index in range(self.n):
            yield torch.full((4,), float(index)), index % 2


def test_a_stream_is_known_by_its_structure(tmp_path: Path) -> None:
    trainer(tmp_path, LDECallback(tmp_path / "lake")).fit(Net(), DataLoader(Stream(8), 4))
    question = """select d.kind, d.fingerprint_method, d.n_samples, c.settings
                  from datasets d join dataset_configs c using (dataset_id)"""
    [row] = Lake(tmp_path / "lake").sql(question).to_pylist()
    assert (row["kind"], row["fingerprint_method"], row["n_samples"]) == ("iterable", "structure", None)
    assert '"n":8' in row["settings"]


def test_seeds_of_samplers_stay_when_a_test_follows(tmp_path: Path) -> None:
    data = _tensors(16)
    sampler = DistributedSampler(data, 1, 0, seed=7)
    tool, module = trainer(tmp_path, LDECallback(tmp_path / "lake"), use_distributed_sampler=False), Net()
    tool.fit(module, DataLoader(data, 4, sampler=sampler))
    tool.test(module, DataLoader(data, 4, generator=torch.Generator().manual_seed(8)), verbose=False)
    [run] = Lake(tmp_path / "lake").sql("select seeds from runs").to_pylist()
    assert '"train.0":{"sampler":{"epoch":0,"seed":7}}' in run["seeds"]
    assert '"initial_seed":8' in run["seeds"]


class Slow(Dataset[Any]):
    """Whose facts take longer than the training."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        return torch.zeros(4), 0

    def lde_facts(self) -> dict[str, Any]:
        time.sleep(1.0)
        return {"name": "slow", "fingerprint": "f", "fingerprint_method": "its own"}


def test_a_training_does_not_wait_and_its_end_does(tmp_path: Path) -> None:
    stamps: dict[str, float] = {}

    class Clock(pl.Callback):
        def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            stamps["begun"] = time.monotonic()

        def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            stamps["trained"] = time.monotonic()

    trainer(tmp_path, LDECallback(tmp_path / "lake"), Clock(), max_epochs=1).fit(Net(), DataLoader(Slow(), 4))
    assert time.monotonic() - stamps["begun"] >= 1.0
    lake = Lake(tmp_path / "lake")
    assert lake.sql("select name from datasets").to_pylist() == [{"name": "slow"}]
    question = "select 1 from runs join dataset_configs using (dataset_config_id)"
    assert lake.sql(question).num_rows == 1


class SlowPace(capture.Pace):
    """Rests long after each piece of data; what else is captured keeps its own pace."""

    rest_s = 0.5

    def breathe(self) -> None:
        super().breathe()
        time.sleep(self.rest_s)


class Interrupted(Net):
    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        raise KeyboardInterrupt


def test_an_interrupted_training_does_not_wait_for_all_of_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "Pace", SlowPace)
    monkeypatch.setattr(SlowPace, "rest_s", 0.05)
    data = torch.utils.data.StackDataset(*[_tensors(8) for _ in range(1000)])
    begun = time.monotonic()
    tool = trainer(tmp_path, LDECallback(tmp_path / "lake", data_fingerprint="exact"))
    loader = DataLoader(data, 4, collate_fn=list)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        tool.fit(Interrupted(), loader)
    assert time.monotonic() - begun < 25
    lake = Lake(tmp_path / "lake")
    method = "structure, not read to the end: the run was interrupted"
    assert lake.sql("select fingerprint_method from datasets").to_pylist() == [{"fingerprint_method": method}]
    assert lake.sql("select 1 from runs where status = 'interrupted'").num_rows == 1
    [event] = lake.sql("select message from events where kind = 'data'").to_pylist()
    assert "not read to its end" in event["message"]


class LongToRead(TensorDataset):
    """32 MB that are read in small pieces, with long rests."""

    def __init__(self) -> None:
        super().__init__(torch.zeros(2_000_000, 4), torch.zeros(2_000_000, dtype=torch.int64))


@pytest.fixture
def slow_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "Pace", SlowPace)
    monkeypatch.setattr(capture._arrays, "_PIECE_BYTES", 1_000_000)  # type: ignore[attr-defined]
    monkeypatch.setattr(_facts, "_SILENT_S", 0.5)


def fit_and_end(tmp_path: Path, **options: Any) -> tuple[Lake, float]:
    """Seconds from the end of training to the end of the fit."""
    stamps: list[float] = []

    class Clock(pl.Callback):
        def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            stamps.append(time.monotonic())

    callback = LDECallback(tmp_path / "lake", data_fingerprint="exact", **options)
    trainer(tmp_path, callback, Clock(), max_epochs=1, limit_train_batches=2).fit(Net(), DataLoader(LongToRead(), 4))
    return Lake(tmp_path / "lake"), time.monotonic() - stamps[0]


@pytest.mark.usefixtures("slow_reading")
def test_the_end_waits_no_longer_than_its_patience_and_says_what_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        lake, waited_s = fit_and_end(tmp_path, data_patience_s=2.0)
    assert 2.0 <= waited_s < 12.0
    [row] = lake.sql("select fingerprint_method, n_samples, size_bytes from datasets").to_pylist()
    assert row["fingerprint_method"] == "structure, not read to the end: it would have taken too long"
    assert row["n_samples"] == 2_000_000
    [event] = lake.sql("select message from events where kind = 'data'").to_pylist()
    assert event["message"].endswith("only its structure may be known: it would have taken too long")
    [said] = [record.getMessage() for record in caplog.records if "waiting" in record.getMessage()]
    found = re.fullmatch(
        r"LDE: waiting up to 2 s for the fingerprint of the train data, ([\d.]+) MB of 48.0 MB read\. "
        r"Ctrl-C skips it, and only its structure is recorded\.",
        said,
    )
    assert found is not None, said
    assert 0 < float(found[1]) < 48
    assert lake.sql("select 1 from runs where status = 'finished'").num_rows == 1


@pytest.mark.usefixtures("slow_reading")
def test_ctrl_c_ends_the_waiting_and_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_facts, "rank_zero_info", lambda words: signal.raise_signal(signal.SIGINT))
    lake, waited_s = fit_and_end(tmp_path)
    assert waited_s < 12.0
    [row] = lake.sql("select fingerprint_method from datasets").to_pylist()
    assert row["fingerprint_method"] == "structure, not read to the end: waiting was ended by Ctrl-C"
    assert lake.sql("select 1 from runs where status = 'finished'").num_rows == 1


@pytest.mark.parametrize(
    ("fingerprint", "took_s", "waits_s"),
    [("cheap", 1.0, 20.0), ("cheap", 9e9, 20.0), ("exact", 1.0, 20.0), ("exact", 300.0, 300.0), ("exact", 9e9, 600.0)],
)
def test_the_patience_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fingerprint: str, took_s: float, waits_s: float
) -> None:
    facts = _facts.RunFacts(Recorder(tmp_path, project="p"), data_fingerprint=fingerprint)
    began = time.monotonic()
    monkeypatch.setattr(_facts.time, "monotonic", lambda: began + took_s)
    assert facts._data_patience_s() == pytest.approx(waits_s, abs=1.0)


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), True, "2"])
def test_a_patience_that_is_none_is_refused(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="data_patience_s is"):
        LDECallback(tmp_path, data_patience_s=wrong)


def test_exact_reads_what_cheap_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture._arrays, "MAX_BYTES", 100)  # type: ignore[attr-defined]
    monkeypatch.setattr(capture._arrays, "_SAMPLE_BYTES", 50)  # type: ignore[attr-defined]
    for word in ("cheap", "exact"):
        tool = trainer(tmp_path, LDECallback(tmp_path / word, data_fingerprint=word), max_epochs=1)
        tool.fit(Net(), DataLoader(_tensors(64), 4))
    methods = [
        Lake(tmp_path / word).sql("select fingerprint_method from datasets").to_pylist() for word in ("cheap", "exact")
    ]
    assert "evenly spaced rows" in methods[0][0]["fingerprint_method"]
    assert methods[1][0]["fingerprint_method"] == "sha256 of content"


def test_another_word_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="data_fingerprint is 'all': give one of cheap, exact"):
        LDECallback(tmp_path, data_fingerprint="all")


def test_lazy_parameters_are_counted_when_they_have_a_shape(tmp_path: Path) -> None:
    class Lazy(Net):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Sequential(torch.nn.LazyLinear(2))

    module = Lazy()
    assert capture.describe_pipeline(module).n_parameters is None

    class Starts(pl.Callback):
        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            pl_module.net(torch.zeros(1, 4))

    module.configure_optimizers = lambda: None  # type: ignore[method-assign,assignment,return-value]
    tool = trainer(tmp_path, LDECallback(tmp_path / "lake"), Starts(), max_epochs=1)
    tool.fit(module, DataLoader(_tensors(8), 4))
    found = Lake(tmp_path / "lake").sql("select n_parameters, n_trainable from pipelines").to_pylist()
    assert found == [{"n_parameters": 10, "n_trainable": 10}]
