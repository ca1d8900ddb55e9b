"""Few-shot modules under the Trainer's flags: precision, accumulation, clipping, resuming, schedules, processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_lde.errors import ConfigurationError
from lightning_lde.fewshot import MAML, MLP, ClassificationSplit, Episodes, Pretraining, ProtoNet, Reptile

from .conftest import make_dataset

pytestmark = [
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended"),
]

MakeTrainer = Callable[..., pl.Trainer]
DATA = make_dataset(per_class=10)
MODULES: dict[str, Callable[..., pl.LightningModule]] = {
    "MAML": lambda **more: MAML(small(), ways=3, inner_steps=2, eval_inner_steps=(1, 2), **more),
    "MAML++": lambda **more: MAML(
        small(),
        ways=3,
        inner_steps=2,
        eval_inner_steps=(1,),
        learn_inner_lr="per_layer_and_step",
        multi_step_loss=4,
        **more,
    ),
    "ANIL first order": lambda **more: MAML(
        small(), ways=3, inner_steps=2, eval_inner_steps=(1,), adapts="head", first_order=True, **more
    ),
    "Reptile": lambda **more: Reptile(small(), ways=3, inner_steps=3, eval_inner_steps=(1,), **more),
    "ProtoNet": lambda **more: ProtoNet(small("running"), **more),
    "Pretraining": lambda **more: Pretraining(
        small("running"), n_classes=6, head=("logistic-regression", "nearest-centroid", "fine-tuning"), **more
    ),
}
EACH = pytest.mark.parametrize("name", MODULES)


def small(norm: Any = "batch") -> MLP:
    return MLP(256, (6, 4), norm_statistics=norm)


def module(name: str, **options: Any) -> pl.LightningModule:
    torch.manual_seed(0)
    return MODULES[name](**options)


def training(name: str, *, batch: int = 2, batches: int = 4) -> DataLoader[Any]:
    if name == "Pretraining":
        images = torch.utils.data.Subset(ClassificationSplit(DATA), range(4 * batch * batches))
        return DataLoader(images, batch_size=4 * batch)
    tasks = Episodes(DATA, split="train", ways=3, shots=2, queries=3, n_episodes=batch * batches, seed=1)
    return DataLoader(tasks, batch_size=batch)


def unseen(count: int = 4) -> DataLoader[Any]:
    return DataLoader(Episodes(DATA, ways=3, shots=2, queries=3, n_episodes=count), batch_size=2)


def weights(model: nn.Module) -> Tensor:
    return torch.cat([value.detach().double().flatten() for value in model.parameters()])


class Gradients(pl.Callback):
    """Keeps the gradients that the optimiser was given; they stay until the next batch."""

    def __init__(self) -> None:
        self.taken: list[Tensor] = []

    def on_train_batch_end(self, trainer: Any, pl_module: pl.LightningModule, *_: Any) -> None:
        grads = [torch.zeros_like(one) if one.grad is None else one.grad for one in pl_module.parameters()]
        self.taken.append(torch.cat([one.flatten() for one in grads]))


@pytest.mark.parametrize("name", ["MAML++", "Reptile", "ProtoNet", "Pretraining"])
@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_precisions_train_and_test_close_to_single(trainer: MakeTrainer, name: str, precision: Any) -> None:
    found = []
    for one in (precision, "32"):
        model, gradients = module(name), Gradients()
        run = trainer(max_epochs=1, precision=one, callbacks=[gradients])
        run.fit(model, training(name, batches=2))
        [tested] = run.test(model, unseen(), verbose=False)
        found.append((gradients.taken[0].double(), tested, {value.dtype for value in model.parameters()}))
    (first, tested, types), (exact, wanted, _) = found
    error = float((first - exact).norm() / exact.norm())
    assert error < (1e-4 if precision == "64-true" else 0.3)
    assert precision == "64-true" or error > 1e-5
    assert tested.keys() == wanted.keys()
    assert all(torch.isfinite(torch.tensor(list(tested.values()))))
    assert types == {torch.float64 if precision == "64-true" else torch.float32}


@EACH
def test_accumulated_batches_are_one_batch_of_all(trainer: MakeTrainer, name: str) -> None:
    after = []
    for batch, accumulate in ((1, 4), (4, 1)):
        model = module(name)
        if name in ("ProtoNet", "Pretraining"):
            model.backbone = small("group")  # statistics of a batch are not those of its parts
        loader = training(name, batch=batch, batches=8 // batch)
        trainer(max_epochs=1, accumulate_grad_batches=accumulate, precision="64-true").fit(model, loader)
        after.append(weights(model))
        assert model.global_step == 2
    steps = 0.01 if name == "Reptile" else 1
    torch.testing.assert_close(after[0], after[1], rtol=1e-6, atol=1e-8 * steps)


@pytest.mark.parametrize("name", ["MAML++", "Reptile", "ProtoNet", "Pretraining"])
@pytest.mark.parametrize("how", ["norm", "value"])
def test_gradients_are_clipped(trainer: MakeTrainer, name: str, how: str) -> None:
    seen = []
    for bound in (None, 1e-3):
        gradients = Gradients()
        settings = {} if bound is None else {"gradient_clip_val": bound, "gradient_clip_algorithm": how}
        trainer(max_steps=1, callbacks=[gradients], **settings).fit(module(name), training(name))
        seen += gradients.taken
    free, clipped = seen
    assert float(free.norm()) > 1e-3
    wanted = free * 1e-3 / (free.norm() + 1e-6) if how == "norm" else free.clamp(-1e-3, 1e-3)
    torch.testing.assert_close(clipped, wanted, rtol=1e-4, atol=1e-9)


@EACH
def test_a_resumed_training_goes_on_bit_for_bit(trainer: MakeTrainer, name: str, tmp_path: Path) -> None:
    through = module(name, schedule="cosine")
    whole = trainer(max_epochs=3)
    whole.fit(through, training(name, batches=2), unseen(2))
    first = module(name, schedule="cosine")
    run = trainer(max_epochs=3, callbacks=[_StopAfter(2)])
    run.fit(first, training(name, batches=2), unseen(2))
    run.save_checkpoint(tmp_path / "half.ckpt")
    assert first.global_step == 4
    torch.manual_seed(99)
    second = MODULES[name](schedule="cosine")
    again = trainer(max_epochs=3)
    again.fit(second, training(name, batches=2), unseen(2), ckpt_path=tmp_path / "half.ckpt")
    assert again.global_step == whole.global_step == 6
    assert all(torch.equal(value, second.state_dict()[key]) for key, value in through.state_dict().items())
    assert whole.callback_metrics.keys() == again.callback_metrics.keys()
    assert all(torch.equal(value, again.callback_metrics[key]) for key, value in whole.callback_metrics.items())


class _StopAfter(pl.Callback):
    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        trainer.should_stop = trainer.current_epoch + 1 == self.epochs


@pytest.mark.parametrize("name", ["MAML", "Reptile", "Pretraining"])
def test_cosine_goes_to_zero_over_the_training(trainer: MakeTrainer, name: str) -> None:
    rates = []

    class Watch(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    model = module(name, schedule="cosine")
    trainer(max_epochs=2, callbacks=[Watch()]).fit(model, training(name, batches=2))
    steps = torch.arange(4) * torch.pi / 4
    torch.testing.assert_close(torch.tensor(rates), rates[0] * (1 + steps.cos()) / 2, rtol=1e-5, atol=1e-7)
    with pytest.raises(ConfigurationError, match="needs an end"):
        trainer(max_epochs=-1).fit(module(name, schedule="cosine"), training(name))
    with pytest.raises(ConfigurationError, match="schedule='linear'"):
        module(name, schedule="linear")


def test_a_user_s_own_optimiser_and_schedule_work(trainer: MakeTrainer) -> None:
    class Mine(MAML):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)]

    model = Mine(small(), ways=3, inner_steps=1)
    run = trainer(max_epochs=2)
    run.fit(model, training("MAML"))
    assert run.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.25)


PROGRAM = """
import json, sys, warnings
warnings.simplefilter("ignore")
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader
from lightning_lde.fewshot import MAML, Conv4, Episodes, FewShotDataset, ProtoNet, Reptile

def make(kind, norm="batch", **options):
    torch.manual_seed(0)
    return kind(Conv4(width=4, image_size=16, norm_statistics=norm), **options)

if __name__ == "__main__":
    processes, batch = int(sys.argv[1]), int(sys.argv[2])
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (120, 1, 16, 16), generator=generator, dtype=torch.uint8)
    labels = torch.arange(12).repeat_interleave(10)
    names = tuple(map(str, range(12)))
    data = FewShotDataset("made up", images, labels, names, ("train",) * 6 + ("test",) * 6)
    size = dict(ways=3, shots=2, queries=3)
    train = Episodes(data, split="train", n_episodes=4, **size)
    test = Episodes(data, n_episodes=5, **size)
    found = {}
    models = {
        "maml": make(MAML, ways=3, inner_steps=2, learn_inner_lr="per_layer", multi_step_loss=5),
        "reptile": make(Reptile, ways=3, inner_steps=2, inner_lr=0.05),
        "protonet": make(ProtoNet, norm="group"),
    }
    for name, model in models.items():
        strategy = "ddp" if processes > 1 else "auto"
        run = pl.Trainer(
            accelerator="cpu", devices=processes, strategy=strategy, max_epochs=1, precision="64-true", logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )
        seen = []
        model.on_before_optimizer_step = lambda optimizer: seen.append(
            torch.cat([one.grad.flatten() for one in model.parameters()]).tolist()
        )
        run.fit(model, DataLoader(train, batch_size=batch))
        train_loss = float(run.callback_metrics["train/loss_epoch"])
        [tested] = run.test(model, DataLoader(test, batch_size=1), verbose=False)
        found[name] = {"gradients": seen, "train/loss": train_loss, "tested": tested}
        if run.is_global_zero:
            open(f"{name}.{processes}.json", "w").write(json.dumps(found[name]))
"""


@pytest.mark.slow
def test_two_processes_have_the_gradients_and_figures_of_one(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(PROGRAM)
    for processes, batch in ((1, 4), (2, 2)):
        command = [sys.executable, "train.py", str(processes), str(batch)]
        subprocess.run(command, cwd=tmp_path, check=True, timeout=250)
    for name in ("maml", "reptile", "protonet"):
        one, two = (json.loads((tmp_path / f"{name}.{processes}.json").read_text()) for processes in (1, 2))
        grads = [torch.tensor(each["gradients"], dtype=torch.float64) for each in (one, two)]
        torch.testing.assert_close(grads[1], grads[0], rtol=1e-9, atol=1e-13)
        assert two["train/loss"] == pytest.approx(one["train/loss"], rel=1e-5)
        assert two["tested"] == pytest.approx(one["tested"], rel=1e-5)
        assert any(key.endswith("_ci95") for key in two["tested"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["MAML first order", "ProtoNet", "Pretraining"])
def test_a_compiled_backbone_gives_what_it_gave_before(trainer: MakeTrainer, name: str) -> None:
    moved = []
    for compiled in (False, True):
        torch.manual_seed(0)
        backbone: Any = MLP(256, (8, 6), norm_statistics="group")
        if compiled:
            backbone.compile()
        if name == "MAML first order":
            model: Any = MAML(backbone, ways=3, inner_steps=2, first_order=True)
        else:
            model = ProtoNet(backbone) if name == "ProtoNet" else Pretraining(backbone, n_classes=6)
        before = weights(model)
        run = trainer(max_epochs=1)
        run.fit(model, training(name))
        [tested] = run.test(model, unseen(), verbose=False)
        moved.append((weights(model) - before, tested))
    assert float(torch.nn.functional.cosine_similarity(moved[0][0], moved[1][0], dim=0)) > 0.99
    assert moved[0][1] == pytest.approx(moved[1][1], abs=0.05)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_second_derivatives_of_a_compiled_backbone_are_refused() -> None:
    backbone = MLP(256, (8, 6), norm_statistics="group")
    backbone.compile()
    model = MAML(backbone, ways=3)
    with pytest.raises(ConfigurationError, match="first_order=True"):
        model.training_step(next(iter(training("MAML"))))
