"""Ranks and per-user figures of committed results, written smaller: the same tables, each column in its best encoding.

    pip install pyarrow; python results/compact.py [FILE ...]     # all ranks.parquet, units.parquet and *.users.parquet

polars, which writes them, keeps each integer whole, so that 22,363 users in ascending order take 54 kB. As differences
they take 0.1 kB; items and ranks are smallest with their first, second, ... bytes apart. Whom a run was asked about and
for which items is the same in all runs of a dataset and protocol: it goes to targets/ once, under its content's hash,
and ranks.parquet keeps its ranks (`llmrec.stored.read_ranks` puts them together). In all a file of ranks takes some
70 % less. One that would not shrink, or not read back the same, is left as it is.
"""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

PATTERNS = ("runs/*/*/ranks.parquet", "runs/*/*/units.parquet", "published/*.users.parquet")


ENCODINGS = ("DICTIONARY", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT", "PLAIN")


def compact(path: Path) -> int:
    """Bytes saved, those that the shared file of users and items takes not counted."""
    before = path.read_bytes()
    table, metadata = pq.read_table(io.BytesIO(before)), pl.read_parquet_metadata(before)
    if path.name == "ranks.parquet" and "item" in table.column_names:
        metadata["targets"] = _shared(table.select(["user", "item"]), path.parents[3] / "targets")
        table = table.select(["rank"])
    after = _smallest(table, metadata)
    same = pl.read_parquet(after).equals(pl.read_parquet(before, columns=table.column_names))
    kept = {k: v for k, v in pl.read_parquet_metadata(after).items() if k in metadata} == metadata
    if len(after) >= len(before) or not (same and kept):
        return 0
    path.write_bytes(after)
    return len(before) - len(after)


def _shared(targets: pa.Table, folder: Path) -> str:
    """The name under which a table of users and items stands in a folder: the hash of its numbers."""
    found = hashlib.sha256()
    for column in targets.columns:
        found.update(column.to_numpy().tobytes())
    name = found.hexdigest()[:16]
    path = folder / f"{name}.parquet"
    if not path.exists():
        folder.mkdir(exist_ok=True)
        path.write_bytes(_smallest(targets, {}))
    assert pq.read_table(path).equals(targets), f"{path}: damaged; take it from version control again"
    return name


def _smallest(table: pa.Table, metadata: dict[str, str]) -> bytes:
    return _written(table, {name: _best_encoding(table.select([name])) for name in table.column_names}, metadata)


def _best_encoding(column: pa.Table) -> str:
    kind = column.schema[0].type
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    fit = [e for e in ENCODINGS if e == "DICTIONARY" or (number and (pa.types.is_integer(kind) or e[0] != "D"))]
    return min(fit, key=lambda encoding: len(_written(column, {column.column_names[0]: encoding}, {})))


def _written(table: pa.Table, encodings: dict[str, str], metadata: dict[str, str]) -> bytes:
    sink = io.BytesIO()
    with pq.ParquetWriter(
        sink, table.schema, compression="zstd", compression_level=22, write_statistics=False, store_schema=False,
        use_dictionary=[name for name, encoding in encodings.items() if encoding == "DICTIONARY"],
        column_encoding={name: encoding for name, encoding in encodings.items() if encoding != "DICTIONARY"},
    ) as writer:  # fmt: skip
        writer.write_table(table)
        writer.add_key_value_metadata(metadata)
    return sink.getvalue()


if __name__ == "__main__":
    here = Path(__file__).parent
    everything = sorted(path for pattern in PATTERNS for path in here.glob(pattern))
    chosen = [Path(name) for name in sys.argv[1:]] or everything
    print(f"{sum(map(compact, chosen)) / 2**20:.2f} MiB saved in {len(chosen)} files")
