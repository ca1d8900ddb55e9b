"""What Parquet's own encryption costs, and who can read such files: `python tests/benchmarks/modular_encryption.py`."""

from __future__ import annotations

import base64
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe

from lightning_lde.schema import new_run_id

ROUNDS = 9
KEY = b"0123456789112345"


class OneKey(pe.KmsClient):  # type: ignore[misc]
    """Wraps keys by nothing; a real one asks a server each time."""

    def __init__(self, _config: pe.KmsConnectionConfig) -> None:
        pe.KmsClient.__init__(self)

    def wrap_key(self, key_bytes: bytes, _master: str) -> bytes:
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped: bytes, _master: str) -> bytes:
        return base64.b64decode(wrapped)


def points(n: int) -> pa.Table:
    values = np.random.default_rng(0).random(n)
    return pa.table({"run_id": [new_run_id()] * n, "name": ["train/loss"] * n, "step": np.arange(n), "value": values})


def median_ms(action: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        action()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def readers(path: str) -> dict[str, str]:
    """What others say to an encrypted file, without its key."""
    import duckdb
    import polars

    asked: dict[str, Callable[[], object]] = {
        "pyarrow": lambda: pq.read_table(path),
        "DuckDB": lambda: duckdb.sql(f"select count(*) from '{path}'").fetchall(),
        "Polars": lambda: polars.read_parquet(path),
    }
    said = {}
    for name, ask in asked.items():
        try:
            ask()
            said[name] = "reads it"
        except Exception as error:
            said[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:110]}"
    return said


def main() -> None:
    factory = pe.CryptoFactory(OneKey)
    connection = pe.KmsConnectionConfig()
    config = pe.EncryptionConfiguration(footer_key="footer", uniform_encryption=True, data_key_length_bits=128)
    reading = pe.DecryptionConfiguration()
    with tempfile.TemporaryDirectory() as folder:
        for n in (50, 1_000_000):
            rows = points(n)
            plain, secret = str(Path(folder) / f"{n}.plain"), str(Path(folder) / f"{n}.secret")

            def write(rows: pa.Table = rows, secret: str = secret) -> None:
                properties = factory.file_encryption_properties(connection, config)
                pq.write_table(rows, secret, compression="zstd", encryption_properties=properties)

            def read(secret: str = secret) -> pa.Table:
                properties = factory.file_decryption_properties(connection, reading)
                return pq.ParquetFile(secret, decryption_properties=properties).read(use_threads=False)

            print(  # noqa: T201
                f"{n:>9,} rows: write {median_ms(lambda: pq.write_table(rows, plain, compression='zstd')):.2f} ms,"  # noqa: B023
                f" encrypted {median_ms(write):.2f} ms;"
                f" read {median_ms(lambda: pq.ParquetFile(plain).read(use_threads=False)):.2f} ms,"  # noqa: B023
                f" encrypted {median_ms(read):.2f} ms;"
                f" {Path(plain).stat().st_size:,} bytes, encrypted {Path(secret).stat().st_size:,}"
            )
            assert read().equals(rows)
        for name, said in readers(secret).items():
            print(f"{name}: {said}")  # noqa: T201


if __name__ == "__main__":
    main()
