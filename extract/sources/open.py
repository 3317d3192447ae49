"""A source by what the user calls it, and the labelled images that it holds."""

from collections.abc import Sequence
from pathlib import Path

from headbench.cache.format import Rejected
from headbench.cache.reader import FeatureFile
from headbench.extract.errors import DataError
from headbench.extract.sources import manifest, python
from headbench.extract.sources.folder import IMAGE_EXTENSIONS, Folder
from headbench.extract.sources.manifest import Manifest
from headbench.extract.sources.remote import RemoteFolder
from headbench.extract.sources.shards import NAME_SHARDS, Shards, are_shards
from headbench.extract.sources.source import Dataset, LabelledImage, Source
from headbench.extract.sources.tables import EXTENSIONS, extension
from headbench.extract.sources.urls import FILE, is_address, refuse_secrets

FOLDERS = f"one folder per class with files that end in {', '.join(IMAGE_EXTENSIONS)}"
LISTED = "a row for each image, with one of two labels or more"
SAVED_DATASET = "a data set saved by Hugging Face's datasets"


def open_source(data: str | Path, features: Path | None = None) -> Source:
    """A source by what the user calls it; nothing is read yet.

    Raises `DataError` if it is a URL with a password, a token or a query in it, or shards are
    compressed, or it is a data set that Hugging Face's ``datasets`` saved.

    Parameters
    ----------
    data : path-like or URL
        A folder: one folder per class; or ``train/``, ``val/``, ``test/`` with class folders
        inside; or the layout of Food-101, ``images/CLASS/ID.jpg`` with ``meta/train.txt`` and
        ``meta/test.txt``. The same behind any URL that fsspec lists, such as ``s3://bucket/photos``
        or ``zip://photos::s3://bucket/all.zip``. A list, here or behind a URL: a file that ends in
        ``.csv``, ``.tsv`` or ``.parquet``, see `manifest.Manifest`. Or tar shards,
        here or behind URLs: ``shards/{000..099}.tar``, several lists of them with ``::`` in
        between.
    features : Path or None
        The feature file that is made of it: the indexes of shards lie beside that.
    """
    name = str(data).removeprefix(FILE)
    refuse_secrets(name)
    if are_shards(str(data)):
        beside = (features or Path("features.h5")).absolute()  # others may work in other folders
        return Shards(str(data), beside.with_name(f"{beside.name}.shards"))
    folder = Path(name)
    if extension(name) in EXTENSIONS and not folder.is_dir():
        return Manifest(name)
    if isinstance(data, str) and is_address(data) and not data.startswith(FILE):
        return RemoteFolder(name)
    if _is_saved_dataset(folder):
        raise DataError(
            f"{name}: expected a folder of image files, found {SAVED_DATASET}. Hand its rows to "
            "headbench.extract.tensors.extract_dataset (docs/sources.md, 'From Python')."
        )
    return Folder(folder)


def images_of(features: FeatureFile, data: str | Path | None) -> Source:
    """Where the images of a feature file lie: in `data`, or in the folder that they were in.

    The file may come from a stranger: what it names is a folder of this machine, whatever it looks
    like. Only the user has URLs, lists and shards opened, as `data`.
    """
    if data:
        return open_source(data, features.path)
    config = features.config.data
    name = str(config["folder"])
    is_from_python = config.get("layout") in python.LAYOUTS
    return python.PythonImages(name=name) if is_from_python else Folder(Path(name), name)


def other_kind(data: str) -> str:
    """What a user named in place of a folder of image files on this machine; empty for the rest.

    For what looks at files one by one, where they lie.
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
    """Find the labelled images of a source, or of what `open_source` makes one of.

    Raises `DataError` if there is no such source, it holds no images, or fewer than two classes.
    """
    dataset = list_images(data)
    require_classes(dataset, LISTED if dataset.layout == manifest.LAYOUT else FOLDERS)
    return dataset


def list_images(data: str | Path | Source) -> Dataset:
    """What `find_images` finds in a source, however few images and classes that are."""
    source = open_source(data) if isinstance(data, str | Path) else data
    layout, found, class_order, notes = source.find()
    images = sorted(each for each in found if isinstance(each, LabelledImage))
    rejected = sorted(each for each in found if isinstance(each, Rejected))
    return Dataset(source, layout, tuple(images), tuple(rejected), tuple(class_order), tuple(notes))


def require_classes(dataset: Dataset, expected: str) -> None:
    """`DataError` if it holds no images, or fewer than two classes; says what was `expected`."""
    name = dataset.source.name
    if not dataset.images:
        raise DataError(f"{name}: expected {expected}; found {_describe(dataset.rejected)}.")
    if len(dataset.classes) == 1:
        raise DataError(
            f"{name}: found one class only, {dataset.classes[0]!r}; a classifier needs at least "
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
    """Whether ``save_to_disk`` wrote a folder: of several splits, or of one table."""
    tables = ("dataset_info.json", "state.json")
    return (folder / "dataset_dict.json").is_file() or all(
        (folder / table).is_file() for table in tables
    )
