"""Parquet files, written in row groups: of embeddings, and of whatever else has rows."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.cache.disk import replacing
from headbench.cache.errors import HeadbenchError
from headbench.cache.format import SPLITS
from headbench.cache.reader import FeatureFile

# Rows of a group: 34 MB of embeddings of ResNet50.
GROUP_ROWS = 4096


@contextmanager
def parquet_file(
    path: Path, columns: Mapping[str, str | int], metadata: dict[str, Any]
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Give a function that writes one row group; the file is there once all are written.

    Parameters
    ----------
    columns : mapping of str to str or int
        Arrow's name of the type of each column, or the length of its float32 vectors.
    metadata : dict
        JSON-ready; stands in the schema.

    Raises
    ------
    HeadbenchError
        If pyarrow is not installed, or the disk is full.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise HeadbenchError(
            f'{path}: writing Parquet needs pyarrow. Run pip install "headbench[tables]".'
        ) from error

    def kind(name: str | int) -> Any:
        return pa.list_(pa.float32(), name) if isinstance(name, int) else pa.type_for_alias(name)

    def array(values: Any, name: str | int) -> Any:
        if not isinstance(name, int):
            return pa.array(values, kind(name))
        return pa.FixedSizeListArray.from_arrays(pa.array(np.ravel(values), pa.float32()), name)

    schema = pa.schema(
        [(name, kind(each)) for name, each in columns.items()],
        {key: json.dumps(value, ensure_ascii=False) for key, value in metadata.items()},
    )
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:

        def write(rows: dict[str, Any]) -> None:
            arrays = [array(rows[name], each) for name, each in columns.items()]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))

        yield write


def write_embeddings(features: FeatureFile, path: Path) -> None:
    """Write a feature file as Parquet, a row an image in the same order, in bounded memory.

    Columns: ``path``, ``class``, ``split``, ``label`` (index into the classes), ``content_sha256``
    (64 hexadecimal digits), and ``embedding``, a float32 list of fixed length. The metadata of the
    schema holds ``classes`` and ``identity``: network, weights, preprocessing, size.
    """
    table, contents = features.table, features.table.contents()
    columns: dict[str, str | int] = {"path": "string", "class": "string", "label": "int32"}
    columns |= {"split": "string", "content_sha256": "string", "embedding": features.dim}
    identity = {"fingerprint": features.identity.fingerprint, **vars(features.identity)}
    metadata = {"classes": features.classes, "identity": identity}
    with parquet_file(path, columns, metadata) as write:
        for start in range(0, features.n_images, GROUP_ROWS):
            rows: NDArray[np.intp] = np.arange(
                start, min(start + GROUP_ROWS, features.n_images), dtype=np.intp
            )
            write(
                {
                    "path": [as_utf8(table.paths[row]) for row in rows],
                    "class": [table.classes[label] for label in table.labels[rows]],
                    "label": table.labels[rows],
                    "split": [SPLITS[split] for split in table.splits[rows]],
                    "content_sha256": [contents[row].hex() for row in rows],
                    "embedding": features.read(rows),
                }
            )


def as_utf8(text: str) -> str:
    """The text, with escapes for what is no UTF-8, as in the name of a file."""
    return text.encode("utf-8", "backslashreplace").decode()
