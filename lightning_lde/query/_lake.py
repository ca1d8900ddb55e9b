"""The lake as its readers see it: SQL over tables, runs by id, artifacts by path."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightning_lde.errors import QueryError, RunNotFoundError, StoreError
from lightning_lde.lake import LakeStorage
from lightning_lde.query import _artifacts, _files
from lightning_lde.query._artifacts import RunArtifact
from lightning_lde.query._engine import Engine
from lightning_lde.query._ranking import ranked
from lightning_lde.query._results import PastResults, results_for_recommendation
from lightning_lde.query._selection import curves
from lightning_lde.query._views import create_views, tables_of

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds

RETRY_FOR_S = 20.0
FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.2

# The user's seeds stay as they are.
_CHANCE = random.SystemRandom()


class Lake:
    """A lake of experiments, opened for reading.

    Making the object reads nothing; every query sees the lake as it is at that moment.

    Args:
        url: A folder, ``s3://bucket/prefix``, or any URL that fsspec knows.
        storage_options: fsspec's options for the protocol, for S3 as s3fs spells them
            (``key``, ``secret``, ``token``, ``endpoint_url``, ``region``, ``anon``).

    Attributes:
        storage: The files below the tables.
        storage_options: The options as they were given, empty if none were.

    Raises:
        LakeURLError: If the address or the options cannot be understood.

    Example:
        >>> import tempfile
        >>> lake = Lake(tempfile.mkdtemp()).create()
        >>> lake.sql("select count(*) as n from runs").to_pylist()
        [{'n': 0}]
    """

    def __init__(self, url: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> None:
        self.storage = LakeStorage(url, storage_options)
        self.storage_options: dict[str, Any] = dict(storage_options or {})
        self._engine = Engine()

    @property
    def url(self) -> str:
        """The lake's address."""
        return self.storage.url

    def __repr__(self) -> str:
        return f"Lake({self.url!r})"

    def create(self) -> Lake:
        """Make this address a lake if it is none yet.

        Returns:
            The lake itself.
        """
        self.storage.initialise()
        return self

    def sql(self, query: str, parameters: Sequence[object] = (), *, of_runs: Collection[str] | None = None) -> pa.Table:
        """Run a query in DuckDB's SQL.

        The tables of docs/format.md are views: ``runs`` holds the present state of each run,
        ``stored.runs`` every state; ``to_pandas()`` or ``polars.from_arrow`` turn the result.

        Args:
            query: One statement; ``?`` stands for a parameter.
            parameters: Values for the ``?``.
            of_runs: Whole ids of the only runs that the query asks about, if it asks about few: cold files that have
                no row of them are not opened. The query names them itself.

        Returns:
            The result as a pyarrow Table.

        Raises:
            LakeNotFoundError: If there is no lake at the address.
            QueryError: If the query is not valid or fails.
            StoreError: If the lake's files cannot be read.
        """
        self.storage.require()
        deadline = time.monotonic() + RETRY_FOR_S
        for pause_s in _pauses():
            try:
                return self._sql_once(query, parameters, of_runs)
            except _FileVanishedError as error:
                # A run that ended just now replaced its segments by one file: look again.
                if time.monotonic() + pause_s > deadline:
                    raise StoreError(
                        f"files of the lake at {self.url} were replaced at each attempt to read them for "
                        f"{RETRY_FOR_S:.0f} s, the last time: {error}"
                    ) from error
            time.sleep(pause_s)
        raise AssertionError

    def _sql_once(self, query: str, parameters: Sequence[object], of_runs: Collection[str] | None) -> pa.Table:
        import duckdb
        import pyarrow as pa

        tables = tables_of(query)
        snapshot = self.storage.snapshot()
        if of_runs is not None:
            snapshot = snapshot.of_runs(of_runs)
        with self._engine.connection(query) as connection:
            try:
                create_views(connection, self.storage, snapshot, tables)
                result = connection.sql(query, params=list(parameters) or None)
                return pa.table({}) if result is None else result.to_arrow_table()
            except (duckdb.Error, pa.ArrowException, OSError) as error:
                message = _first_lines(str(error))
                # What DuckDB raises for a missing file depends on the store, so the listing decides.
                if self.storage.vanished(path for table in tables for path in snapshot.paths(table)):
                    raise _FileVanishedError(message) from error
                if isinstance(error, (duckdb.IOException, OSError)):
                    raise StoreError(f"cannot read the lake at {self.url}: {message}") from error
                raise QueryError(message) from error

    def files(self, table: str) -> list[str]:
        """Addresses of the Parquet files in which a table's rows stand at this moment, each row in one of them.

        For programs that read Parquet: absolute paths, or URLs. Files of runs that go on are replaced by others some
        time; who does not find one asks again. `lightning_lde.interop` knows what the rows mean besides.

        Args:
            table: A table of docs/format.md.

        Raises:
            LakeNotFoundError: If there is no lake at the address.
            ConfigurationError: If there is no such table.
        """
        return _files.files(self.storage, table)

    def dataset(self, table: str) -> ds.Dataset:
        """The same files as a data set of pyarrow, with all columns that any of them has.

        Args:
            table: A table of docs/format.md.

        Raises:
            LakeNotFoundError: If there is no lake at the address.
            ConfigurationError: If there is no such table.
        """
        return _files.dataset(self.storage, table)

    def runs(
        self,
        where: str = "true",
        parameters: Sequence[object] = (),
        *,
        sort: str = "started_at desc, run_id desc",
        columns: Sequence[str] = (),
        limit: int | None = None,
    ) -> pa.Table:
        """Present states of runs, newest first.

        Args:
            where: A condition in SQL over the columns of ``runs``.
            parameters: Values for the ``?`` in the condition.
            sort: What stands behind ``order by`` in SQL.
            columns: Names of columns, or expressions over them; without any all columns.
            limit: How many at most.
        """
        most = "" if limit is None else f"limit {int(limit)}"
        query = f"select {', '.join(columns) or '*'} from runs where {where} order by {sort} {most}"
        return self.sql(query, parameters)

    def params(self, runs: Sequence[str] = (), *, keys: Sequence[str] = ()) -> pa.Table:
        """The settings of runs, one row for each run and setting.

        Args:
            runs: Ids, beginnings of ids, or unique names; without any all runs.
            keys: Dotted keys; without any all.

        Returns:
            Columns ``run_id``, ``key``, ``value_num``, ``value_text`` and ``type``.

        Raises:
            RunNotFoundError: If none or several runs answer to one of the words.
        """
        ids = self.resolve_runs(runs)
        return self.sql(
            """select run_id, key, value_num, value_text, type
               from runs join params on config_id = pipeline_config_id
               where (len($1) = 0 or run_id in (select unnest($1))) and (len($2) = 0 or key in (select unnest($2)))
               order by run_id desc, key""",
            [ids, list(keys)],
        )

    def metrics(
        self, run: str, name: str | None = None, *, context: str | None = None, max_points: int | None = None
    ) -> pa.Table:
        """Curves of one run, in the order of their steps.

        Args:
            run: The run's id, the beginning of one, or a unique name.
            name: The metric; without it all.
            context: ``"train"``, ``"val"``, ``"test"`` or ``"system"``; without it all.
            max_points: How many points a curve has at most, 4 or more: of a longer one the lowest and the highest
                value of each stretch stay, so that no peak is lost.

        Returns:
            Columns ``name``, ``context``, ``dataloader_idx``, ``step``, ``global_step``, ``epoch``, ``time`` and
            ``value``.

        Raises:
            RunNotFoundError: If none or several runs answer to the word.
            ConfigurationError: If ``max_points`` is below 4.
        """
        return curves(self, self.resolve_run(run), name, context=context, max_points=max_points)

    def top(
        self,
        metric: str,
        *,
        mode: str = "max",
        of_run: str = "last",
        dataset: str | None = None,
        project: str | None = None,
        aggregate: bool = True,
        k: int = 10,
    ) -> pa.Table:
        """The best configurations by a metric, or with ``aggregate=False`` the best runs; see `query.ranked`."""
        return ranked(
            self, metric, mode=mode, of_run=of_run, dataset=dataset, project=project, aggregate=aggregate, k=k
        )

    def results(self, metric: str, **options: Any) -> PastResults:
        """What finished runs reached, as a table to learn from; see `query.results_for_recommendation`."""
        return results_for_recommendation(self, metric, **options)

    def resolve_run(self, run: str) -> str:
        """The id of the run that an id, the beginning of one, or a unique name means.

        Raises:
            RunNotFoundError: If none or several runs answer to it.
        """
        return self.resolve_runs([run])[0]

    def resolve_runs(self, runs: Sequence[str]) -> list[str]:
        """The ids that some words mean, in their order; one query for all of them.

        Args:
            runs: Ids, beginnings of ids, or unique names.

        Raises:
            RunNotFoundError: If none or several runs answer to one of them.
        """
        if not runs:
            return []
        found: dict[str, list[str]] = {run: [] for run in runs}
        rows = self.sql(
            "select word, run_id from (select unnest($1::varchar[]) as word) "
            "join runs on starts_with(run_id, lower(word)) or name = word order by started_at desc",
            [list(found)],
        )
        for row in rows.to_pylist():
            found[row["word"]].append(row["run_id"])
        for run, ids in found.items():
            if not ids:
                raise RunNotFoundError(f"no run {run!r} in {self.url}: `lde runs {self.url}` lists them")
            if len(ids) > 1:
                few = ", ".join(ids[:3])
                raise RunNotFoundError(f"{run!r} means {len(ids)} runs ({few}, …): give more of the id")
        return [found[run][0] for run in runs]

    def artifacts(self, run: str) -> pa.Table:
        """The files of a run, in the order of their paths; of several versions of one the newest first.

        Args:
            run: The run's id, the beginning of one, or a unique name.

        Returns:
            Columns ``path``, ``kind``, ``size_bytes``, ``tier``, ``score``, ``weights_id``, ``object_id``, ``recipe``,
            ``segment`` and ``recorded_at``.

        Raises:
            RunNotFoundError: If there is no such run.
        """
        return _artifacts.artifacts_of(self, self.resolve_run(run))

    def artifact(self, run: str, path: str) -> RunArtifact:
        """A file of a run, to be read, saved or loaded; of several versions the newest.

        Args:
            run: The run's id, the beginning of one, or a unique name.
            path: The file's path as `artifacts` has it.

        Raises:
            RunNotFoundError: If there is no such run.
            ArtifactNotFoundError: If the run has no file of that path.
        """
        return _artifacts.artifact_of(self, self.resolve_run(run), path)

    def load_checkpoint(
        self,
        run: str,
        which: str = _artifacts.BEST,
        *,
        mode: str | None = None,
        map_location: Any = "cpu",
        weights_only: bool = True,
    ) -> Any:
        """A checkpoint of a run, loaded by torch.

        Args:
            run: The run's id, the beginning of one, or a unique name.
            which: ``"best"`` by its score (without scores the last), ``"last"``, or a path.
            mode: Whether the ``"min"`` or the ``"max"`` score is the best; None for what the run's callback said.
            map_location: Where tensors go, as `torch.load` takes it.
            weights_only: Whether only tensors and plain values may be in it. With False everything that is pickled in
                it is run: only for files that you trust.

        Raises:
            RunNotFoundError: If there is no such run.
            ArtifactNotFoundError: If it has no such checkpoint.
            ConfigurationError: If nobody knows which score is the best.
            DataError: If it needs ``weights_only=False``, or is no file of torch.
        """
        found = _artifacts.checkpoint_of(self, self.resolve_run(run), which, mode=mode)
        return found.load_checkpoint(map_location=map_location, weights_only=weights_only)

    def read_artifact(self, run: str, path: str) -> bytes:
        """The verified content of a run's file.

        Args:
            run: The run's id, the beginning of one, or a unique name.
            path: The file's path as `artifacts` has it.

        Raises:
            RunNotFoundError: If there is no such run.
            ArtifactNotFoundError: If the run has no file of that path, or it was deleted.
            ArchivedError: If it is in an archive.
        """
        return self.artifact(run, path).read()


class _FileVanishedError(Exception):
    """A file that a listing named could not be opened."""


def _pauses() -> Iterator[float]:
    """Seconds to wait before each next attempt: doubled each time, at random so that readers do not march in step."""
    longest_s = FIRST_PAUSE_S
    while True:
        yield _CHANCE.uniform(longest_s / 2, longest_s)
        longest_s = min(2 * longest_s, LONGEST_PAUSE_S)


def _first_lines(message: str) -> str:
    """A DuckDB message without the echo of the query, on one line."""
    head = message.split("\n\nLINE", 1)[0]
    return " ".join(part.strip() for part in head.splitlines() if part.strip())
