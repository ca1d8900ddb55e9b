"""What diversities were computed from, as edges of the lineage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lightning_lde.query import Lake
from lightning_lde.recording import add_results
from lightning_lde.schema import Link, Relation, content_id, utc_now
from lightning_lde.study._diversities import DatasetDiversity

_Key = tuple[str, str]
_Edge = tuple[_Key, str, _Key]


def add_links(
    lake: Lake, found: Sequence[DatasetDiversity], *, project: str, probe_run_id: str | None, is_borne: bool
) -> None:
    """Say what figures came from: the tasks, the probe, the run that trained it, and what that was trained on.

    Args:
        lake: The lake.
        found: Figures of one probe; links that the lake has are not written again.
        project: The project.
        probe_run_id: The run that trained the probe, None where none did.
        is_borne: Whether the data sets bear these figures; others are not in the lake, only their embeddings are.
    """
    edges = [edge for one in found for edge in _of_figure(one)] if is_borne else []
    if found and probe_run_id is not None:
        edges.append((("run", probe_run_id), Relation.PRODUCED, ("probe", found[0].probe_id)))
        parts = [one.dataset_id for one in found]
        edges += [
            (("dataset", union), Relation.DERIVED_FROM, ("dataset", part))
            for union in _trained_on(lake, probe_run_id)
            for part in parts
            if part != union
        ]
    rows = lake.sql(
        "select source_id, relation, target_id from links where list_contains($1, source_id)",
        [[source for (_, source), _, _ in edges]],
    ).to_pylist()
    known = {(row["source_id"], row["relation"], row["target_id"]) for row in rows}
    new = [_link(edge, probe_run_id) for edge in edges if (edge[0][1], edge[1], edge[2][1]) not in known]
    if new:
        add_results(lake.storage, "links", new, project=project)


def _of_figure(one: DatasetDiversity) -> Iterator[_Edge]:
    figure = content_id("diversities", {"tasks": one.dataset_config_id, "probe": one.probe_id, "method": one.method})
    for origin in (("dataset_config", one.dataset_config_id), ("probe", one.probe_id)):
        yield ("diversity", figure), Relation.DERIVED_FROM, origin


def _trained_on(lake: Lake, run_id: str) -> list[str]:
    """The data set that the study's own probe was trained on, which is made of the others."""
    rows = lake.sql(
        """select c.dataset_id from runs r join dataset_configs c using (dataset_config_id)
           where r.run_id = ? and r.tags->>'algorithm' = 'probe'""",
        [run_id],
    )
    found: list[str] = rows.column("dataset_id").to_pylist()
    return found


def _link(edge: _Edge, run_id: str | None) -> Link:
    source, relation, target = edge
    return Link(
        source_kind=source[0],
        source_id=source[1],
        relation=relation,
        target_kind=target[0],
        target_id=target[1],
        run_id=None if source[0] == "diversity" else run_id,
        recorded_at=utc_now(),
    )
