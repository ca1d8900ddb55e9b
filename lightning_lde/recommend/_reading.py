"""Tables of results from files: CSV, TSV and Parquet, plain, gzipped or zipped."""

from __future__ import annotations

import ast
import gzip
import io
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_lde.errors import DataError

from ._table import ResultTable

_KINDS = (".csv", ".tsv", ".parquet")

Columns = dict[str, list[Any]]


def read_results(
    path: str | Path,
    *,
    dataset: str = "dataset",
    metric: str = "metric",
    settings: Sequence[str] | None = None,
    configuration: str | None = None,
    ignore: Sequence[str] = (),
    sd: str | None = None,
    n: str | None = None,
    descriptors: str | Path | Sequence[str] = (),
    descriptors_dataset: str | None = None,
    maximize: bool = True,
) -> ResultTable:
    r"""Read a table of results that was not recorded here.

    A setting whose values are written as dictionaries, such as ``{'C': 0.1}``, becomes one setting for each key.

    Args:
        path: File ending in .csv, .tsv or .parquet, perhaps followed by .gz or .zip; a zip file holds one file.
        dataset: Column with the data set of a row.
        metric: Column with the value of a row.
        settings: Columns with settings; by default all that no other argument names, unless there is a
            ``configuration``.
        configuration: Column with the id of a configuration; by default settings are the id.
        ignore: Columns that are neither, such as a seed: rows that differ in nothing else are repetitions.
        sd: Column with the standard deviation between the repetitions behind a row.
        n: Column with their number.
        descriptors: A file with one row for each data set, or columns of this file that describe the data set.
        descriptors_dataset: Column of that file with the data set; by default the one named as here, or the first.
        maximize: Whether a larger value is better.

    Raises:
        DataError: If the file cannot be read, lacks a column, or its rows make no table.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "results.csv"
        ...     size = path.write_text("dataset,lr,accuracy\na,0.1,0.8\na,0.2,0.7\nb,0.1,0.9\n")
        ...     table = ResultTable.from_file(path, metric="accuracy")
        >>> table.datasets, table.settings
        (('a', 'b'), ({'lr': 0.1}, {'lr': 0.2}))
    """
    columns = read_columns(path)
    inside = [] if isinstance(descriptors, str | Path) else list(descriptors)
    named = [name for name in (dataset, metric, configuration, sd, n, *inside) if name is not None]
    if settings is None:
        others = [name for name in columns if name not in named and name not in ignore]
        settings = others if configuration is None else []
    for name in (*named, *settings, *ignore):
        if name not in columns:
            raise DataError(f"{path} has no column {name!r}; it has {', '.join(map(repr, columns))}.")
    if isinstance(descriptors, str | Path):
        described = _described_elsewhere(descriptors, descriptors_dataset or dataset)
    else:
        described = _described(columns, columns[dataset], inside)
    return ResultTable.from_columns(
        dataset=columns[dataset],
        metric=_numbers(columns, metric),
        settings=_expanded({name: columns[name] for name in settings}),
        configuration=columns[configuration] if configuration else None,
        sd=_numbers(columns, sd) if sd else None,
        n=_numbers(columns, n) if n else None,
        descriptors=described,
        metric_name=metric,
        maximize=maximize,
    )


def read_columns(path: str | Path) -> Columns:
    """The columns of a file as Python values, by name; see [read_results][] for the kinds of files."""
    import pyarrow as pa
    import pyarrow.csv as csv
    import pyarrow.parquet as parquet

    path = Path(path)
    try:
        name, content = _content(path)
        if name.endswith(".parquet"):
            table = parquet.read_table(io.BytesIO(content))
        elif name.endswith((".csv", ".tsv")):
            separator = "\t" if name.endswith(".tsv") else ","
            parse = csv.ParseOptions(delimiter=separator, newlines_in_values=True)
            table = csv.read_csv(io.BytesIO(content), parse_options=parse)
        else:
            raise DataError(f"{path} is neither .csv, .tsv nor .parquet (with .gz or .zip behind); convert it first.")
    # A zip file that is encrypted, or packed in a way that Python lacks, is a RuntimeError.
    except (OSError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read: {error}; pass a whole CSV, TSV or Parquet file.") from error
    return dict(table.to_pydict())


def _content(path: Path) -> tuple[str, bytes]:
    if path.suffix == ".gz":
        return path.stem, gzip.decompress(path.read_bytes())
    if path.suffix != ".zip":
        return path.name, path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")]
        if len(members) != 1:
            raise DataError(f"{path} holds {len(members)} files, expected one; unpack it and pass the one you mean.")
        inside = members[0]
        return (inside if Path(inside).suffix in _KINDS else path.stem), archive.read(inside)


def _numbers(columns: Columns, name: str) -> list[Any]:
    return [float("nan") if value is None else value for value in columns[name]]


def _described_elsewhere(path: str | Path, dataset: str) -> dict[str, dict[str, Any]]:
    columns = read_columns(path)
    key = dataset if dataset in columns else next(iter(columns))
    return _described(columns, columns[key], [name for name in columns if name != key and _numeric(columns[name])])


def _described(columns: Columns, datasets: list[Any], names: list[str]) -> dict[str, dict[str, Any]]:
    rows = {str(dataset): row for row, dataset in enumerate(datasets)}
    return {
        dataset: {name: columns[name][row] for name in names if columns[name][row] is not None}
        for dataset, row in rows.items()
    }


def _numeric(values: list[Any]) -> bool:
    return all(value is None or isinstance(value, int | float) for value in values)


def _expanded(columns: Columns) -> Columns:
    """Columns of written dictionaries as one column for each key."""
    done: Columns = {}
    for name, values in columns.items():
        if not all(isinstance(value, str) and value.startswith("{") for value in values):
            done[name] = values
            continue
        parsed = {text: _dictionary(text) for text in set(values)}
        for key in sorted({key for one in parsed.values() for key in one}):
            done[f"{name}.{key}"] = [parsed[text].get(key) for text in values]
    return done


def _dictionary(text: str) -> dict[str, Any]:
    try:
        found = ast.literal_eval(text)
    # These are all that Python documents for malformed input.
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise DataError(
            f"{text[:80]!r} begins like a dictionary and is none ({error}); leave that column out."
        ) from error
    return {str(key): value for key, value in found.items()} if isinstance(found, dict) else {"value": str(found)}
