"""A source by the name that the user gives, and its labelled images."""

from collections.abc import Sequence
from pathlib import Path

from headbench.cache.format import UNLABELLED, Rejected
from headbench.cache.reader import FeatureFile
from headbench.extract.errors import DataError
from headbench.extract.sources import manifest, python
from headbench.extract.sources.folder import IMAGE_EXTENSIONS, Folder
from headbench.extract.sources.manifest import Manifest
from headbench.extract.sources.remote import RemoteFolder
from headbench.extract.sources.shards import NAME_SHARDS, Shards, are_shards
from headbench.extract.sources.source import Dataset, LabelledImage, Source
from headbench.extract.sources.tables import EXTENSIONS, extension
from headbench.extract.sources.urls import FILE, is_address, refuse_secrets, without_file

FOLDERS = f"one folder per class with files that end in {', '.join(IMAGE_EXTENSIONS)}"
EXPECTED = {
    manifest.LAYOUT: "a row for each image, and at least two different labels",
    UNLABELLED: f"files that end in {', '.join(IMAGE_EXTENSIONS)}",
}
SAVED_DATASET = "a data set saved by Hugging Face's datasets"


def open_source(
    data: str | Path, features: Path | None = None, *, has_labels: bool = True
) -> Source:
    """A source by the name that the user gives; nothing is read yet.

    Raises `DataError` if it is a URL that contains a password, a token or a query, if shards are
    compressed or to be read without labels, or if it is a data set saved by Hugging Face's
    ``datasets``.

    Parameters
    ----------
    data : path-like or URL
        A folder: one folder per class; or ``train/``, ``val/``, ``test/`` with class folders
        inside; or the layout of Food-101, ``images/CLASS/ID.jpg`` with ``meta/train.txt`` and
        ``meta/test.txt``. The same behind any URL that fsspec lists, such as ``s3://bucket/photos``
        or ``zip://photos::s3://bucket/all.zip``. A list, here or behind a URL: a file that ends in
        ``.csv``, ``.tsv`` or ``.parquet``, see `manifest.Manifest`. Or tar shards, here or behind
        URLs: ``shards/{000..099}.tar``; several such patterns are separated by ``::``.
    features : Path or None
        The feature file to be made: the indexes of shards are stored beside it.
    has_labels : bool
        Whether to look for labels: see `ExtractSettings`.
    """
    name = without_file(str(data))
    refuse_secrets(name)
    if are_shards(str(data)):
        if not has_labels:
            raise DataError(f"{data}: --unlabelled takes a folder or a list, found tar shards.")
        beside = (
            features or Path("features.h5")
        ).absolute()  # other processes may work in other folders
        return Shards(str(data), beside.with_name(f"{beside.name}.shards"))
    folder = Path(name)
    if extension(name) in EXTENSIONS and not folder.is_dir():
        return Manifest(name, has_labels)
    if isinstance(data, str) and is_address(data) and not data.startswith(FILE):
        return RemoteFolder(name, has_labels)
    if _is_saved_dataset(folder):
        raise DataError(
            f"{name}: expected a folder of image files, found {SAVED_DATASET}. Pass its rows to "
            "headbench.extract.tensors.extract_dataset (docs/sources.md, 'From Python')."
        )
    return Folder(folder, has_labels=has_labels)


def images_of(features: FeatureFile, data: str | Path | None) -> Source:
    """The source of the images of a feature file: `data`, or the folder in which they were.

    The file may come from a stranger: the name in it is taken for a folder of this machine,
    whatever it looks like. URLs, lists and shards are opened only if the user gives them as `data`.
    """
    if data:
        return open_source(data, features.path)
    config = features.config.data
    name = str(config["folder"])
    is_from_python = config.get("layout") in python.LAYOUTS
    return python.PythonImages(name=name) if is_from_python else Folder(Path(name), name)


def other_kind(data: str) -> str:
    """The kind of source that was named instead of a local folder of images; empty for one.

    For commands that look at image files one by one, in their folder.
    """
    folder = Path(data)
    if folder.is_dir():
        return SAVED_DATASET if _is_saved_dataset(folder) else ""
    if are_shards(data):
        return "tar shards"
    if extension(data) in EXTENSIONS:
        return "a list of images"
    return "a URL" if is_address(data) else ""


def find_images(data: str | Path | Source) -> Dataset:
    """Find the labelled images of a source, or of the source that `open_source` makes.

    Raises `DataError` if the source does not exist, has no images, or fewer than two classes.
    """
    dataset = list_images(data)
    require_classes(dataset, EXPECTED.get(dataset.layout, FOLDERS))
    return dataset


def list_images(data: str | Path | Source) -> Dataset:
    """The images that `find_images` finds, however few images and classes there are."""
    source = open_source(data) if isinstance(data, str | Path) else data
    layout, found, class_order, notes = source.find()
    images = sorted(each for each in found if isinstance(each, LabelledImage))
    rejected = sorted(each for each in found if isinstance(each, Rejected))
    return Dataset(source, layout, tuple(images), tuple(rejected), tuple(class_order), tuple(notes))


def require_classes(dataset: Dataset, expected: str) -> None:
    """`DataError`, with `expected`, if there are no images or fewer than two classes."""
    name = dataset.source.name
    if not dataset.images:
        raise DataError(f"{name}: expected {expected}; found {_describe(dataset.rejected)}.")
    if len(dataset.classes) == 1:
        raise DataError(
            f"{name}: found only one class, {dataset.classes[0]!r}; a classifier needs at least "
            f"two. Expected {expected}."
        )


def _describe(rejected: Sequence[Rejected]) -> str:
    if not rejected:
        return "no files"
    has_shards = any(each.path.endswith(".tar") for each in rejected)
    return (
        f"{len(rejected)} other files, the first {rejected[0].path} ({rejected[0].reason})"
        f"{f'. {NAME_SHARDS}' if has_shards else ''}"
    )


def _is_saved_dataset(folder: Path) -> bool:
    """Whether ``save_to_disk`` wrote a folder: several splits, or one table."""
    tables = ("dataset_info.json", "state.json")
    return (folder / "dataset_dict.json").is_file() or all(
        (folder / table).is_file() for table in tables
    )
