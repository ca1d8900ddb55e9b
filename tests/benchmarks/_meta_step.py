"""Meta-steps of one engine, asked for line by line: the same weights and tasks for every engine."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WAYS, QUERIES, INNER_LR = 5, 15, 0.1
NETS = {"conv4-64, 28x28": (1, 64, 28), "conv4-32, 84x84": (3, 32, 84)}
_SIZES = {**NETS, "warm-up": (1, 8, 16)}

DEVICE = "cpu"

Tasks = list[tuple[Tensor, Tensor, Tensor, Tensor]]
Step = Callable[[nn.Module, Tasks, int, bool], dict[str, Tensor]]


class Plain(nn.Module):
    """Conv4 as papers write it; convolutions have biases, as in the peers' own, which batch norm takes out again."""

    def __init__(self, channels: int, width: int, size: int) -> None:
        super().__init__()
        layers = []
        for of_input in (channels, width, width, width):
            layers += [nn.Conv2d(of_input, width, 3, padding=1), nn.BatchNorm2d(width, track_running_stats=False)]
            layers += [nn.ReLU(), nn.MaxPool2d(2)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width * (size // 16) ** 2, WAYS)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images).flatten(1))


def shared(model: nn.Module) -> list[str]:
    """Parameters that all engines have, in one order."""
    return [name for name, value in model.named_parameters() if not (value.ndim == 1 and _is_bias_of_conv(model, name))]


def _is_bias_of_conv(model: nn.Module, name: str) -> bool:
    place, _, kind = name.rpartition(".")
    return kind == "bias" and isinstance(model.get_submodule(place), nn.Conv2d)


def lightning_lde(model: nn.Module, tasks: Tasks, steps: int, first_order: bool) -> dict[str, Tensor]:
    from lightning_lde.fewshot import Conv4, Episode
    from lightning_lde.fewshot.engine import InnerLoop, Recorder, meta_loss

    if not hasattr(model, "ours"):
        object.__setattr__(model, "recorder", Recorder(tasks_at_once=16))
        channels, width, size = model.size
        ours = nn.Sequential(Conv4(channels, width, size), nn.Linear(model.head.in_features, WAYS))
        ours = ours.to(next(model.parameters()))
        for to, name in zip(ours.parameters(), shared(model), strict=True):
            to.data.copy_(model.get_parameter(name).data)
        object.__setattr__(model, "ours", ours)
    ours = model.ours
    ours.zero_grad()
    # As a loader gives them: the same memory that the tasks of the others lie in.
    fields = [field[: len(tasks)] for field in model.fields]
    batch = Episode(*fields, torch.zeros(len(tasks), WAYS, dtype=torch.int64), torch.arange(len(tasks)))
    meta_loss(ours, batch, InnerLoop(steps, INNER_LR, first_order), recorder=model.recorder).loss.backward()
    return dict(zip(shared(model), (value.grad for value in ours.parameters()), strict=True))


def learn2learn(model: nn.Module, tasks: Tasks, steps: int, first_order: bool) -> dict[str, Tensor]:
    maml = importlib.import_module("learn2learn.algorithms.maml").MAML(model, lr=INNER_LR, first_order=first_order)
    model.zero_grad()
    for support, labels, query, targets in tasks:
        learner = maml.clone()
        for _ in range(steps):
            learner.adapt(F.cross_entropy(learner(support), labels))
        (F.cross_entropy(learner(query), targets) / len(tasks)).backward()
    return {name: value.grad for name, value in model.named_parameters()}


def higher(model: nn.Module, tasks: Tasks, steps: int, first_order: bool) -> dict[str, Tensor]:
    import higher as peer

    optimizer = torch.optim.SGD(model.parameters(), lr=INNER_LR)
    model.zero_grad()
    for support, labels, query, targets in tasks:
        options = {"copy_initial_weights": False, "track_higher_grads": not first_order}
        with peer.innerloop_ctx(model, optimizer, **options) as (learner, inner):
            for _ in range(steps):
                inner.step(F.cross_entropy(learner(support), labels))
            loss = F.cross_entropy(learner(query), targets) / len(tasks)
            if not first_order:
                loss.backward()
                continue
            for value, slope in zip(model.parameters(), torch.autograd.grad(loss, learner.parameters()), strict=True):
                value.grad = slope if value.grad is None else value.grad + slope
    return {name: value.grad for name, value in model.named_parameters()}


def torch_func(model: nn.Module, tasks: Tasks, steps: int, first_order: bool) -> dict[str, Tensor]:
    from torch.func import functional_call, grad

    def loss_of(state: dict[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(model, state, (images,)), labels)

    def after(state: dict[str, Tensor], support: Tensor, labels: Tensor, query: Tensor, targets: Tensor) -> Tensor:
        for _ in range(steps):
            slopes = grad(loss_of)(state, support, labels)
            if first_order:
                slopes = {name: slope.detach() for name, slope in slopes.items()}
            state = {name: value - INNER_LR * slopes[name] for name, value in state.items()}
        return loss_of(state, query, targets) / len(tasks)

    start = {name: value.detach() for name, value in model.named_parameters()}
    total = {name: torch.zeros_like(value) for name, value in start.items()}
    for task in tasks:
        for name, slope in grad(after)(start, *task).items():
            total[name] += slope
    return total


ENGINES: dict[str, Step] = {each.__name__: each for each in (lightning_lde, learn2learn, higher, torch_func)}


def made(net: str, shots: int, n_tasks: int, dtype: torch.dtype = torch.float32) -> tuple[nn.Module, Tasks]:
    channels, width, size = _SIZES[net]
    torch.manual_seed(0)
    model = Plain(channels, width, size).to(dtype)
    model.size = (channels, width, size)
    for name, value in model.named_parameters():
        if _is_bias_of_conv(model, name):
            value.data.zero_()
    labels = torch.arange(WAYS)
    fields = []
    for each in (shots, QUERIES):
        images = torch.rand(n_tasks, WAYS * each, channels, size, size, dtype=dtype)
        fields += [images.to(DEVICE), labels.repeat_interleave(each).repeat(n_tasks, 1).to(DEVICE)]
    model.fields = fields
    return model.to(DEVICE), list(zip(*(field.unbind() for field in fields), strict=True))


def done(engine: Step, *work: Any) -> None:
    """Take a step, and wait until the device has."""
    engine(*work)
    if DEVICE != "cpu":
        torch.cuda.synchronize()


def held_mb(*, peak: bool) -> float:
    """What this process holds, on a GPU of the device's memory; now, or at most."""
    if DEVICE != "cpu":
        return (torch.cuda.max_memory_reserved() if peak else torch.cuda.memory_reserved()) / 1e6
    what = "VmHWM" if peak else "VmRSS"
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(what))


def warm(engine: Step) -> int:
    """Steps that do not count: on a GPU ours records what comes again, the fourth time that it comes."""
    return 0 if DEVICE == "cpu" else 5 if engine is lightning_lde else 1


def forget_peak() -> None:
    """Let the most that was held count from now."""
    if DEVICE != "cpu":
        torch.cuda.reset_peak_memory_stats()
        return
    Path("/proc/self/clear_refs").write_text("5")


def answer(engine: Step, job: dict[str, Any]) -> dict[str, Any]:
    """Do what a line asks for."""
    steps, first_order = job["steps"], job["first_order"]
    if job["what"] == "gradient":
        model, tasks = made(job["net"], job["shots"], 1, torch.float64)
        found = engine(model, tasks, steps, first_order)
        torch.save(torch.cat([found[name].detach().flatten() for name in shared(model)]), job["file"])
        return {}
    if job["what"] == "memory":
        # What a first step loads, code and thread pools, is no memory of a step.
        engine(*made("warm-up", 1, 1), 1, first_order)
        model, tasks = made(job["net"], job["shots"], job["tasks"])
        forget_peak()
        before = held_mb(peak=False)
        for _ in range(1 + warm(engine)):
            done(engine, model, tasks, steps, first_order)
        return {"step_mb": held_mb(peak=True) - before, "before_mb": before}
    model, tasks = made(job["net"], job["shots"], job["tasks"])
    if job["what"] == "flops":
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            engine(model, tasks[:1], steps, first_order)
        return {"flops": counter.get_total_flops() * len(tasks)}
    wall, cpu = [], []
    for _ in range(warm(engine)):
        done(engine, model, tasks, steps, first_order)
    for _ in range(job["times"]):
        began, used = time.perf_counter(), time.process_time()
        done(engine, model, tasks, steps, first_order)
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    return {"wall_s": wall, "cpu_s": cpu}


def only_the_algorithms(folder: str) -> None:
    """Let learn2learn's plain modules be imported without the packages beside them, which need its compiled parts."""
    for name in ("learn2learn", "learn2learn.algorithms"):
        module = types.ModuleType(name)
        module.__path__ = [str(Path(folder, *name.split(".")))]
        sys.modules[name] = module


def main() -> None:
    global DEVICE
    name, threads, folder, DEVICE = sys.argv[1:]
    torch.set_num_threads(int(threads))
    if name == "learn2learn":
        only_the_algorithms(folder)
    if name == "lightning_lde":
        from lightning_lde.fewshot.engine import keep_memory

        keep_memory()
    # Warnings of engines must not stand between the answers.
    out, sys.stdout = os.fdopen(os.dup(1), "w"), sys.stderr
    for line in sys.stdin:
        try:
            found = answer(ENGINES[name], json.loads(line))
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}"[:500]}
        if DEVICE != "cpu":
            # Engines share the device.
            torch.cuda.empty_cache()
        print(json.dumps(found), file=out, flush=True)


if __name__ == "__main__":
    main()
