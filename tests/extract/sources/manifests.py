"""Small lists of images for the tests."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from headbench.extract.sources.open import find_images
from headbench.extract.sources.source import Dataset, LabelledImage


def write_csv(path: Path, *lines: str) -> Path:
    """A list with these lines."""
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def write_parquet(path: Path, /, **columns: Sequence) -> Path:
    """A list with these columns, in row groups of two rows."""
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


def listed(path: Path | str) -> Dataset:
    """What a list says."""
    return find_images(str(path))


def image_of(dataset: Dataset, path: str) -> LabelledImage:
    """The image of that path."""
    [image] = [each for each in dataset.images if each.path == path]
    return image
