"""Lineage of real trainings: fit, test, resumed, loaded by hand; and the versions and impact of their data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from lightning_lde import Lake, LDECallback, Recorder
from lightning_lde.capture import describe_loader, weights_fingerprint
from lightning_lde.errors import ConfigurationError, NodeNotFoundError
from lightning_lde.query import Affected, Lineage, data_history, data_impact, lineage
from lightning_lde.query._graph import load_graph
from lightning_lde.query._lineage import find, walk

# Lightning has much to say of such small trainings; what this package says must still be an error.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "error::lightning_lde.errors.LDEWarning")


class Flowers(TensorDataset):
    """A data set with a name of its own."""


class Net(pl.LightningModule):
    def __init__(self, lr: float = 0.1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Linear(4, 3)

    def loss(self, batch: list[torch.Tensor]) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        loss = self.loss(batch)
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        self.log("val/loss", self.loss(batch))

    def test_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        self.log("test/loss", self.loss(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.hparams["lr"])


def flowers(seed: int, n: int = 12, classes: int = 3) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(seed)
    return DataLoader(Flowers(torch.randn(n, 4, generator=generator), torch.arange(n) % classes), batch_size=4)


FIRST, SECOND, TUNING, VALIDATION, TEST = flowers(0), flowers(1, n=15), flowers(2), flowers(3), flowers(4)


class Story:
    """What the trainings below did, as they know it themselves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lake = Lake(folder / "lake")
        self.runs: dict[str, str] = {}
        self.weights: dict[str, str] = {}

    def trainer(self, name: str, epochs: int = 1) -> tuple[pl.Trainer, LDECallback]:
        callback = LDECallback(self.lake.url, project="p", name=name, on_error="raise", system_metrics_every_s=None)
        saving = pl.callbacks.ModelCheckpoint(self.folder / name, filename="{epoch}", save_top_k=-1)
        made = pl.Trainer(
            max_epochs=epochs, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
            default_root_dir=self.folder, log_every_n_steps=1, callbacks=[callback, saving],
        )  # fmt: skip
        return made, callback

    def fit(self, name: str, model: Net, data: DataLoader[Any], epochs: int = 1, **options: Any) -> pl.Trainer:
        trainer, callback = self.trainer(name, epochs)
        trainer.fit(model, data, VALIDATION, **options)
        self.runs[name] = str(callback.run_id)
        self.weights[name] = str(weights_fingerprint(model))
        return trainer

    def checkpoint(self, name: str, epoch: int) -> Path:
        return self.folder / name / f"epoch={epoch}.ckpt"


def tell(folder: Path) -> Story:
    story = Story(folder)
    pl.seed_everything(1, verbose=False)
    model = Net()
    trainer = story.fit("first", model, FIRST, epochs=2)
    trainer.test(model, TEST, verbose=False)
    # Its last weights and its earliest ones, loaded by hand and trained on other data; then tested elsewhere.
    last, early = (Net.load_from_checkpoint(story.checkpoint("first", epoch), lr=0.2 + epoch) for epoch in (1, 0))
    story.fit("tuned", last, TUNING)
    story.fit("tuned early", early, TUNING)
    trainer, callback = story.trainer("tested")
    trainer.test(Net.load_from_checkpoint(story.checkpoint("tuned", 0)), TEST, verbose=False)
    story.runs["tested"] = str(callback.run_id)
    # Another data set under the same name; a run that goes on in itself with yet another one.
    story.fit("second", Net(0.5), SECOND)
    story.fit("second", Net(0.5), FIRST, epochs=2, ckpt_path=story.checkpoint("second", 0))
    return story


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LDE_SPOOL_DIR", str(tmp_path_factory.mktemp("spool")))
        yield tell(tmp_path_factory.mktemp("story"))


def ids_of(loader: DataLoader[Any]) -> tuple[str, str]:
    dataset, config = describe_loader(loader)
    return dataset.dataset_id, config.dataset_config_id


def reached(found: Lineage, kind: str, direction: str) -> set[str]:
    return {step.node[1] for step in getattr(found, direction) if step.node[0] == kind}


def names_reached(story: Story, found: Lineage, direction: str) -> set[str]:
    ids = reached(found, "run", direction)
    return {name for name, run_id in story.runs.items() if run_id in ids}


def test_data_leads_to_all_runs_with_something_of_it_in_their_weights(story: Story) -> None:
    for loader, expected in (
        (FIRST, {"first", "tuned", "tuned early", "tested", "second"}),
        (SECOND, {"second"}),
        (TUNING, {"tuned", "tuned early", "tested"}),
        (VALIDATION, {"first", "tuned", "tuned early", "tested", "second"}),
        (TEST, {"first", "tested"}),
    ):
        found = lineage(story.lake, ids_of(loader)[0], direction="down")
        assert names_reached(story, found, "downstream") == expected


def test_what_was_only_tested_on_leads_to_results_and_no_weights(story: Story) -> None:
    found = lineage(story.lake, ids_of(TEST)[0], direction="down")
    assert {step.node[0] for step in found.downstream} == {"dataset_config", "run", "evaluation"}
    evaluations = reached(found, "evaluation", "downstream")
    assert evaluations == {f"{story.runs['first']}/1", f"{story.runs['tested']}/0"}


def test_a_tested_run_comes_from_two_trainings_and_all_their_data(story: Story) -> None:
    found = lineage(story.lake, "tested", direction="up")
    assert names_reached(story, found, "upstream") == {"tuned", "first"}
    assert reached(found, "dataset", "upstream") == {ids_of(one)[0] for one in (FIRST, TUNING, VALIDATION, TEST)}
    assert {story.weights["tuned"], story.weights["first"]} <= reached(found, "weights", "upstream")
    assert {"code", "environment", "pipeline", "pipeline_config"} <= {step.node[0] for step in found.upstream}


def test_the_test_of_the_earlier_run_is_no_part_of_what_it_comes_from(story: Story) -> None:
    found = lineage(story.lake, story.runs["tuned"], direction="up")
    assert ids_of(TEST)[0] not in reached(found, "dataset", "upstream")
    own = lineage(story.lake, story.runs["first"], direction="up")
    assert ids_of(TEST)[0] in reached(own, "dataset", "upstream")


def test_weights_of_an_early_checkpoint_are_found_by_their_fingerprint(story: Story) -> None:
    content = torch.load(story.checkpoint("first", 0), weights_only=True)
    early = str(weights_fingerprint(content["state_dict"]))
    found = lineage(story.lake, early)
    assert names_reached(story, found, "downstream") == {"tuned early"}
    assert names_reached(story, found, "upstream") == {"first"}
    [path] = {node.label for node in found.nodes.values() if node.kind == "artifact" and node.label.endswith("=0.ckpt")}
    assert path.endswith("epoch=0.ckpt")


def test_an_evaluation_knows_weights_and_figures(story: Story) -> None:
    found = lineage(story.lake, "tested")
    [node] = [node for node in found.nodes.values() if node.kind == "evaluation"]
    assert node.facts["stage"] == "test"
    assert node.facts["weights_ids"] == [story.weights["tuned"]]
    [metric] = node.facts["metrics"]
    query = "select value from metrics where run_id = ? and name = 'test/loss'"
    [expected] = story.lake.sql(query, [story.runs["tested"]]).column("value").to_pylist()
    assert (metric["name"], metric["value"]) == ("test/loss", expected)


def test_a_run_that_goes_on_is_one_node_and_its_last_weights_come_from_all_its_data(story: Story) -> None:
    assert story.lake.sql("select count(*) as n from resumes").to_pylist() == [{"n": 1}]
    assert len(story.lake.runs("name = 'second'")) == 1
    found = lineage(story.lake, story.weights["second"], direction="up")
    assert reached(found, "run", "upstream") == {story.runs["second"]}
    assert {ids_of(SECOND)[0], ids_of(FIRST)[0]} <= reached(found, "dataset", "upstream")
    # The first part ended before it saw the other data.
    before = torch.load(story.checkpoint("second", 0), weights_only=True)["state_dict"]
    found = lineage(story.lake, str(weights_fingerprint(before)), direction="up")
    assert ids_of(SECOND)[0] in reached(found, "dataset", "upstream")
    assert ids_of(FIRST)[0] not in reached(found, "dataset", "upstream")


def test_every_id_of_the_lake_can_be_asked_for(story: Story) -> None:
    graph = load_graph(story.lake)
    assert {kind for kind, _ in graph.keys} == {
        "artifact", "code", "dataset", "dataset_config", "environment", "evaluation", "pipeline", "pipeline_config",
        "run", "weights",
    }  # fmt: skip
    for key in graph.keys:
        assert find(story.lake, graph, key[1]) == key
    run_id = story.runs["tuned"]
    assert find(story.lake, graph, run_id[:-1].upper()) == find(story.lake, graph, "tuned") == ("run", run_id)
    for table, column in (("runs", "weights_start_id"), ("runs", "code_id"), ("artifacts", "object_id")):
        for name in story.lake.sql(f"select distinct {column} from {table}").column(column).to_pylist():
            assert find(story.lake, graph, name)[1] == name


def test_both_directions_agree(story: Story) -> None:
    """What comes from a thing is what has it among what it comes from."""
    graph = load_graph(story.lake)
    below = {key: {step.node for step in walk(graph, key, upwards=False, depth=None)[0]} for key in graph.keys}
    above = {key: {step.node for step in walk(graph, key, upwards=True, depth=None)[0]} for key in graph.keys}
    assert sum(map(len, below.values())) > 100
    for one in graph.keys:
        for other in graph.keys:
            assert (other in below[one]) == (one in above[other])


def test_depth_cuts_off_and_says_so(story: Story) -> None:
    whole = lineage(story.lake, ids_of(FIRST)[0], direction="down")
    assert whole.cut_off == 0
    for depth in (1, 2, 3):
        cut = lineage(story.lake, ids_of(FIRST)[0], direction="down", depth=depth)
        assert list(cut.downstream) == [step for step in whole.downstream if step.depth <= depth]
        assert cut.cut_off > 0


def test_wrong_words_are_said(story: Story) -> None:
    with pytest.raises(NodeNotFoundError, match=r"nothing in .* has the id 'xyz'"):
        lineage(story.lake, "xyz")
    with pytest.raises(NodeNotFoundError, match="nothing"):
        lineage(story.lake, "")
    with pytest.raises(NodeNotFoundError, match="means 5 things"):
        # The time of their start, to some hours.
        lineage(story.lake, story.runs["tuned"][:6])
    with pytest.raises(ConfigurationError, match="sideways"):
        lineage(story.lake, "tuned", direction="sideways")
    with pytest.raises(ConfigurationError, match="depth is 0"):
        lineage(story.lake, "tuned", depth=0)


def test_history_of_a_name(story: Story) -> None:
    versions = data_history(story.lake, "Flowers")
    by_id = {version.dataset_id: version for version in versions}
    assert set(by_id) == {ids_of(one)[0] for one in (FIRST, SECOND, TUNING, VALIDATION, TEST)}
    first, second, tuning = (by_id[ids_of(one)[0]] for one in (FIRST, SECOND, TUNING))
    validation, test = (by_id[ids_of(one)[0]] for one in (VALIDATION, TEST))
    assert (validation.used_as, test.used_as, tuning.used_as) == (("validation",), ("evaluation",), ("training",))
    assert (first.before, validation.before, test.before) == (None, None, None)
    assert (tuning.before, second.before) == (first.dataset_id, tuning.dataset_id)
    assert tuning.changes == {}
    assert second.changes["n_samples"] == [12, 15]
    assert second.changes["classes"] == {"added": {}, "removed": {}, "changed": {one: [4, 5] for one in "012"}}
    assert [use.name for use in tuning.uses] == ["tuned", "tuned early"]
    assert {use.run_id for use in test.uses} == {story.runs["first"], story.runs["tested"]}
    # The first version came back when the run that had begun with another one went on.
    assert [use.name for use in first.uses] == ["first", "second"]
    assert first.last_used is not None
    assert second.last_used is not None
    assert first.last_used > second.last_used


def test_a_name_that_no_data_set_has(story: Story) -> None:
    with pytest.raises(NodeNotFoundError, match=r"no data set 'Trees'.*it has Flowers"):
        data_history(story.lake, "Trees")


def by_kind(affected: list[Affected], kind: str) -> set[str]:
    return {one.node.id for one in affected if one.node.kind == kind}


def test_impact_of_data(story: Story) -> None:
    dataset, affected = data_impact(story.lake, ids_of(FIRST)[0][:10])
    assert dataset.label == "Flowers"
    assert len({(one.node.kind, one.node.id) for one in affected}) == len(affected)
    names = {one.node.label: one for one in affected if one.node.kind == "run"}
    assert {name: one.how for name, one in names.items()} == {
        "first": "trained_on", "second": "trained_on", "tuned": "started_with", "tuned early": "started_with",
        "tested": "evaluated",
    }  # fmt: skip
    assert {name: one.generation for name, one in names.items()} == {
        "first": 1, "second": 1, "tuned": 2, "tuned early": 2, "tested": 3,
    }  # fmt: skip
    # The checkpoints that trainings with this data wrote, by their hashes on the disk; one was there before.
    import hashlib

    hashes = {
        str(path.relative_to(story.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in story.folder.glob("*/*.ckpt")
    }
    assert len(hashes) == 6
    del hashes["second/epoch=0.ckpt"]
    assert by_kind(affected, "artifact") == set(hashes.values())
    assert by_kind(affected, "evaluation") == {f"{story.runs['first']}/1", f"{story.runs['tested']}/0"}
    assert {story.weights[name] for name in ("first", "second", "tuned", "tuned early")} <= by_kind(affected, "weights")


def test_impact_wants_one_data_set(story: Story) -> None:
    with pytest.raises(NodeNotFoundError, match="the name of 5 contents"):
        data_impact(story.lake, "Flowers")
    with pytest.raises(NodeNotFoundError, match="is no data set but run"):
        data_impact(story.lake, "tuned")
    with pytest.raises(NodeNotFoundError, match="nothing"):
        data_impact(story.lake, "ffffffffff")


def test_a_recorder_by_hand(tmp_path: Path) -> None:
    with Recorder(tmp_path / "lake", project="p", name="by hand") as run:
        run.update(weights_end_id="w" * 32)
    with Recorder(tmp_path / "lake", project="p", name="after it") as other:
        other.update(weights_start_id="w" * 32)
    found = lineage(Lake(tmp_path / "lake"), "w" * 32)
    assert reached(found, "run", "upstream") == {run.run_id}
    assert reached(found, "run", "downstream") == {other.run_id}
