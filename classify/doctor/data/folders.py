"""Class folders as Keras sees them: it numbers those of each folder by itself, in sorted order."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from classify.doctor.finding import Finding, Severity
from classify.doctor.script import DATASET, FIT, GENERATOR
from classify.wording import some
from extract.sources.folder import SPLIT_FOLDERS
from extract.sources.source import Dataset, LabelledImage

# What Keras 3 takes for images, by the ends of their names; a script of its own may take any.
KERAS_ENDINGS = {
    FIT: ("",),
    GENERATOR: (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".tif", ".tiff"),
    DATASET: (".bmp", ".gif", ".jpeg", ".jpg", ".png"),
}


def class_parents(dataset: Dataset) -> dict[str, Path]:
    """The folders that hold class folders, by their names; that of train comes first."""
    if dataset.layout == "food101":
        return {"images": dataset.root / "images"}
    if dataset.layout == "class folders":
        return {dataset.root.name: dataset.root}
    names = subfolders(dataset.root)
    names.sort(key=lambda name: SPLIT_FOLDERS[name.lower()] != "train")
    return {name: dataset.root / name for name in names}


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted as Keras sorts them; also those without images."""
    return sorted(
        path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )


def keras_order(image: LabelledImage) -> tuple[str, str, str]:
    """What Keras sorts image files by: class, then folder, then name."""
    folder, _, name = image.path.rpartition("/")
    return image.class_name, folder, name


def examine_folders(dataset: Dataset, names_of: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Folders that are taken for classes and are none, and classes that are empty.

    Parameters
    ----------
    dataset : Dataset
    names_of : mapping of str to sequence of str
        The class folders in each folder.
    """
    yield from _splits_as_classes(dataset)
    empty = sorted({name for names in names_of.values() for name in names} - {*dataset.classes})
    if empty:
        yield Finding(
            "empty-class-folders",
            Severity.WARNING,
            f"Class folders without any image: {len(empty)}.",
            (f"{some(empty)}.",),
            "Keras counts each as a class, headbench does not: fill or delete them.",
        )


def _splits_as_classes(dataset: Dataset) -> Iterator[Finding]:
    """Folders called train and val beside another one are classes by the rules of the layout."""
    if dataset.layout != "class folders":
        return
    named = [name for name in dataset.classes if name.lower() in SPLIT_FOLDERS]
    # A class may be called train; no class is called val and has class folders inside.
    inside = {
        name: {image.path.split("/")[1] for image in dataset.images if image.class_name == name}
        for name in named
        if all(image.path.count("/") > 1 for image in dataset.images if image.class_name == name)
    }
    if len({SPLIT_FOLDERS[name.lower()] for name in inside}) < 2:
        return
    others = sorted({*dataset.classes} - {*inside})
    yield Finding(
        "splits-as-classes",
        Severity.SEVERE,
        f"The folders {', '.join(inside)} look like splits, and are taken for classes.",
        (
            *(f"{name}/ has folders inside: {some(sorted(inside[name]))}." for name in inside),
            f"Beside them: {some(others) or 'no train/'}.",
        ),
        "Have nothing but train/, val/ and test/ in the folder: move away what else is there.",
    )
