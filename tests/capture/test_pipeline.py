"""Modules: class, source, layers and counts."""

from __future__ import annotations

import hashlib
import inspect

import pytest
import torch
from torch import nn

from lightning_lde.capture import describe_pipeline
from lightning_lde.schema import records_to_arrow


class Base(nn.Module):
    def helper(self) -> int:
        return 1


class Net(Base):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, width), nn.ReLU())
        self.scale = nn.Parameter(torch.ones(5))
        self.frozen = nn.Linear(1, 1).requires_grad_(False)


def test_facts() -> None:
    row = describe_pipeline(Net())
    assert row.module_class == f"{__name__}.Net"
    assert (row.n_parameters, row.n_trainable) == (9 + 5 + 2, 9 + 5)
    assert [(layer["name"], layer["n_parameters"]) for layer in row.layers] == [
        ("", 5),
        ("body.0", 9),
        ("body.1", 0),
        ("frozen", 2),
    ]
    assert row.layers[1]["class"] == "torch.nn.modules.linear.Linear"
    assert records_to_arrow("pipelines", [row]).num_rows == 1


def test_the_source_of_own_bases_counts_and_that_of_torch_does_not() -> None:
    text = inspect.getsource(Net) + inspect.getsource(Base)
    assert describe_pipeline(Net()).source_hash == hashlib.sha256(text.encode()).hexdigest()[:32]


def test_the_id_depends_on_structure_and_not_on_weights() -> None:
    base = describe_pipeline(Net()).pipeline_id
    net = Net()
    nn.init.zeros_(net.scale)
    assert describe_pipeline(net).pipeline_id == base
    assert describe_pipeline(Net(width=4)).pipeline_id != base


def test_shared_parameters_count_once() -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    assert describe_pipeline(nn.Sequential(first, second)).n_parameters == 9 + 3 + 3


def test_settings_of_layers_count() -> None:
    def layers(p: float, padding: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 2, 3, padding=padding), nn.Dropout(p), nn.ReLU())

    row = describe_pipeline(layers(0.1, 1))
    assert row.layers[0]["settings"]["kernel_size"] == [3, 3]
    assert row.layers[1]["settings"] == {"p": 0.1, "inplace": False}
    ids = [describe_pipeline(layers(*values)).pipeline_id for values in ((0.1, 1), (0.2, 1), (0.1, 2), (0.1, 1))]
    assert len(set(ids)) == 3
    assert ids[0] == ids[3] == row.pipeline_id


def test_frozen_layers_are_another_pipeline() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    base = describe_pipeline(net)
    assert not any("n_trainable" in layer for layer in base.layers)
    net[0].weight.requires_grad_(False)
    row = describe_pipeline(net)
    assert [layer.get("n_trainable") for layer in row.layers] == [2, None]
    assert row.pipeline_id != base.pipeline_id


def test_lazy_and_meta_parameters() -> None:
    lazy = nn.Sequential(nn.LazyLinear(3))
    row = describe_pipeline(lazy)
    assert (row.n_parameters, row.layers[0]["n_parameters"]) == (None, None)
    meta = describe_pipeline(nn.Linear(4, 5, device="meta"))
    assert meta.n_parameters == 25
    assert meta.pipeline_id == describe_pipeline(nn.Linear(4, 5)).pipeline_id


def test_a_class_without_source() -> None:
    made = type("Made", (nn.Module,), {})
    row = describe_pipeline(made())
    assert row.source_hash is None
    assert row.n_parameters == 0


def test_a_compiled_module_is_described_as_the_module() -> None:
    net = Net()
    compiled = torch.compile(net, backend="eager")
    assert describe_pipeline(compiled).pipeline_id == describe_pipeline(net).pipeline_id


@pytest.mark.parametrize("thing", [None, 3, object(), Net, nn.Sequential()])
def test_odd_modules(thing: object) -> None:
    assert records_to_arrow("pipelines", [describe_pipeline(thing)]).num_rows == 1
