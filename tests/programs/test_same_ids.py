"""One script on two machines: its data and its pipeline are the same things, its environments are not."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lightning_lde import Lake

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent

SCRIPT = '''
import enum
import functools
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset, WeightedRandomSampler
from torch.utils.data import random_split

from lightning_lde import LDECallback

HERE = Path(__file__).resolve().parent


class Mode(enum.Enum):
    FAST = "fast"


@dataclass
class Config:
    names: frozenset = frozenset({"a", "b", "c", "d", "e"})
    mode: Mode = Mode.FAST
    where: Path = HERE / "data"
    act: object = torch.nn.functional.relu


class Compose:
    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, sample):
        for transform in self.transforms:
            sample = transform(sample)
        return sample


class Jitter:
    def __init__(self, scale, kinds):
        self.scale, self.kinds, self.generator = scale, kinds, np.random.default_rng()

    def __call__(self, sample):
        return sample + self.scale * self.generator.random()


class ImageFolder(Dataset):
    """As torchvision has it."""

    def __init__(self, root, transform=None, target_transform=None):
        self.root, self.transform, self.target_transform = str(root), transform, target_transform
        self.classes = sorted(each.name for each in Path(root).iterdir())
        self.samples = [(str(path), number) for number, name in enumerate(self.classes)
                        for path in sorted((Path(root) / name).iterdir())]
        self.targets = [target for _, target in self.samples]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        path, target = self.samples[index]
        values = torch.from_numpy(np.fromfile(path, dtype=np.uint8)[:4].astype(np.float32))
        return self.transform(values), self.target_transform(target)


class Rows(Dataset):
    """A user's own, with arrays, words, and a cache."""

    def __init__(self, folder):
        self.folder, self.kinds, self.cache = folder, {"x", "y", "z"}, {}
        self.values = np.load(folder / "values.npy", mmap_mode="r")
        self.labels = [row % 2 for row in range(len(self.values))]

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        self.cache[index] = True
        return torch.tensor(self.values[index]), self.labels[index]


def collate(samples, scale=1.0):
    return torch.stack([x for x, _ in samples]) * scale, torch.tensor([y for _, y in samples])


class Net(pl.LightningModule):
    def __init__(self, config, act=lambda x: x, folder=HERE / "data"):
        super().__init__()
        self.config, self.act, self.folder, self.marker = config, act, folder, object()
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.1), torch.nn.Linear(8, 2))

    def training_step(self, batch, batch_idx):
        loss = torch.nn.functional.cross_entropy(self.act(self.net(batch[0])), batch[1])
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.log("val", torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
        return [optimizer], [torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5**epoch)]


class Data(pl.LightningDataModule):
    def __init__(self, folder, batch_size=4):
        super().__init__()
        self.folder, self.batch_size = folder, batch_size

    def setup(self, stage):
        jitter = Compose([Jitter(0.1, {"p", "q", "r"}), lambda x: x / 255, functools.partial(torch.mul, other=2.0)])
        self.images = ImageFolder(self.folder / "images", jitter, lambda y: y % 2)
        generator = torch.Generator().manual_seed(4)
        self.train, self.val = random_split(self.images, [12, 4], generator=generator)

    def train_dataloader(self):
        sampler = WeightedRandomSampler(np.linspace(0.1, 1, 12), 12, generator=torch.Generator().manual_seed(9))
        half = functools.partial(collate, scale=0.5)
        return DataLoader(self.train, self.batch_size, sampler=sampler, collate_fn=half)

    def val_dataloader(self):
        rows = Rows(self.folder)
        tensors = TensorDataset(torch.from_numpy(np.array(rows.values)), torch.tensor(rows.labels))
        both = ConcatDataset([tensors, tensors])
        return [DataLoader(Subset(self.val, [2, 0]), 2), DataLoader(rows, 3), DataLoader(both)]


if __name__ == "__main__":
    pl.seed_everything(int(os.environ["SEED"]), verbose=False)
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=2, logger=False, enable_progress_bar=False, default_root_dir=HERE / "logs",
        callbacks=[
            LDECallback(HERE / "lake", project="same"),
            ModelCheckpoint(HERE / "checkpoints", monitor="val/dataloader_idx_0", save_top_k=1),
            EarlyStopping("loss", patience=3),
        ],
    )
    trainer.fit(Net(Config()), datamodule=Data(HERE / "data"))
'''

QUESTION = """
    select l.relation, c.dataset_config_id, c.dataset_id, c.settings, c.transforms, d.fingerprint_method, d.n_samples
    from links l join dataset_configs c on c.dataset_config_id = l.target_id join datasets d using (dataset_id)
    where l.target_kind = 'dataset_config' order by all"""


def write_data(folder: Path, *, seconds: int) -> None:
    """The same files on every machine, made in another order and at another time."""
    numbers = random.Random(0)
    files = {
        folder / "images" / name / f"{index:02}.bin": numbers.randbytes(8)
        for name in ("cat", "dog")
        for index in range(8)
    }
    for path in sorted(files, reverse=bool(seconds % 2)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[path])
        os.utime(path, (seconds, seconds))
    import numpy as np

    np.save(folder / "values.npy", np.arange(40, dtype=np.float32).reshape(10, 4))


def run_on(machine: Path, *, cwd: Path, seconds: int, seed: int = 1, extra: bool = False) -> Path:
    """The script in a place, a home, an environment and a hash order of its own."""
    home = machine / "home"
    for folder in (home, cwd, machine / "work"):
        folder.mkdir(parents=True, exist_ok=True)
    write_data(machine / "work" / "data", seconds=seconds)
    (machine / "work" / "train.py").write_text(SCRIPT)
    packages = machine / "packages"
    packages.mkdir(exist_ok=True)
    if extra:
        info = packages / "strange_package-3.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strange-package\nVersion: 3.1\n")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "USER": machine.name,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(packages)]),
        "PYTHONHASHSEED": str(seconds % 1000),
        "LDE_SPOOL_DIR": str(home / "spool"),
        "OMP_NUM_THREADS": "1",
        "SEED": str(seed),
    }
    program = os.path.relpath(machine / "work" / "train.py", cwd)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", program], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return machine / "work" / "lake"


def ids_in(lake: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    [run] = Lake(lake).sql("select * from runs").to_pylist()
    assert run["status"] == "finished"
    events = Lake(lake).sql("select * from events where level <> 'info'").to_pylist()
    assert not events, events
    return Lake(lake).sql(QUESTION).to_pylist(), run


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    folder = tmp_path_factory.mktemp("machines")
    one = run_on(folder / "ann", cwd=folder / "ann" / "work", seconds=1_600_000_000)
    two = run_on(folder / "far" / "away" / "ben", cwd=folder / "elsewhere", seconds=1_700_000_001, seed=2, extra=True)
    return one, two, folder


def test_equal_data_and_pipelines_other_environments(machines: tuple[Path, Path, Path]) -> None:
    (uses, run), (other_uses, other_run) = ids_in(machines[0]), ids_in(machines[1])
    assert len(uses) == 4
    assert uses == other_uses
    assert run["dataset_config_id"] == other_run["dataset_config_id"] is not None
    question = "select pipeline_id, hparams, optimizers, schedulers, trainer from pipeline_configs"
    assert Lake(machines[0]).sql(question).to_pylist() == Lake(machines[1]).sql(question).to_pylist()
    assert run["pipeline_config_id"] == other_run["pipeline_config_id"] is not None
    assert run["environment_id"] != other_run["environment_id"]
    assert run["seed"] != other_run["seed"]


def test_the_content_of_all_of_it_is_known(machines: tuple[Path, Path, Path]) -> None:
    uses, _ = ids_in(machines[0])
    assert all("sha256" in use["fingerprint_method"] for use in uses)
    assert not any(str(machines[2]) in str(use) for use in uses)


def test_a_changed_file_is_another_data_set_and_the_same_pipeline(machines: tuple[Path, Path, Path]) -> None:
    uses, run = ids_in(machines[0])
    work = machines[2] / "changed" / "work"
    shutil.copytree(machines[0].parent, work, ignore=shutil.ignore_patterns("lake", "checkpoints", "logs"))
    target = work / "data" / "images" / "dog" / "03.bin"
    target.write_bytes(bytes(8))
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "LDE_SPOOL_DIR": str(machines[2] / "spool"),
        "OMP_NUM_THREADS": "1",
        "SEED": "1",
    }
    subprocess.run([sys.executable, "-W", "ignore", "train.py"], cwd=work, env=environment, check=True, timeout=300)
    changed_uses, changed_run = ids_in(work / "lake")
    assert changed_run["pipeline_config_id"] == run["pipeline_config_id"]
    same = {use["dataset_id"] for use in uses} & {use["dataset_id"] for use in changed_uses}
    assert len(same) == 2
    assert changed_run["dataset_config_id"] != run["dataset_config_id"]
