"""The labelled images of a source: which files, which class, which split it names itself."""

from collections.abc import Sequence
from pathlib import Path

from cache.format import Rejected
from extract.errors import DataError
from extract.sources import manifest
from extract.sources.layouts import IMAGE_EXTENSIONS
from extract.sources.opening import open_source
from extract.sources.shards import NAME_SHARDS
from extract.sources.source import Dataset, LabelledImage, Source

FOLDERS = f"one folder per class with files that end in {', '.join(IMAGE_EXTENSIONS)}"
EXPECTED = {
    manifest.LAYOUT: "a row for each image, with one of two labels or more",
}


def find_images(data: str | Path | Source) -> Dataset:
    """Find the labelled images of a source.

    Parameters
    ----------
    data : path-like, URL or Source
        See `extract.sources.opening.open_source` for what it may be.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If there is no such source, it holds no images, or fewer than two classes.
    """
    dataset = list_images(data)
    require_classes(dataset, EXPECTED.get(dataset.layout, FOLDERS))
    return dataset


def require_classes(dataset: Dataset, expected: str) -> None:
    """Refuse what no classifier can be trained on.

    Parameters
    ----------
    dataset : Dataset
    expected : str
        How it should be laid out, for the error.

    Raises
    ------
    DataError
        If it holds no images, or fewer than two classes.
    """
    name = dataset.source.name
    if not dataset.images:
        raise DataError(f"{name}: expected {expected}; found {_describe(dataset.rejected)}.")
    if len(dataset.classes) == 1:
        raise DataError(
            f"{name}: found one class only, {dataset.classes[0]!r}; a classifier needs at least "
            f"two. Expected {expected}."
        )


def list_images(data: str | Path | Source) -> Dataset:
    """What `find_images` finds in a source, however few images and classes that are."""
    source = open_source(data) if isinstance(data, str | Path) else data
    layout, found, class_order, notes = source.find()
    images = sorted(each for each in found if isinstance(each, LabelledImage))
    rejected = sorted(each for each in found if isinstance(each, Rejected))
    return Dataset(source, layout, tuple(images), tuple(rejected), tuple(class_order), tuple(notes))


def _describe(rejected: Sequence[Rejected]) -> str:
    if not rejected:
        return "no files"
    has_shards = any(each.path.endswith(".tar") for each in rejected)
    return (
        f"{len(rejected)} other files, the first {rejected[0].path} ({rejected[0].reason})"
        f"{f'. {NAME_SHARDS}' if has_shards else ''}"
    )
