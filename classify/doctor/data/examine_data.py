"""Examine a folder of labelled images: its class folders, indices, splits and files."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from headbench.cache.untrusted import read_json
from headbench.classify.doctor.data.image_copies import examine_copies
from headbench.classify.doctor.data.image_files import examine_classes, examine_files, examine_looks
from headbench.classify.doctor.data.scan import scan
from headbench.classify.doctor.data.script_split import examine_order, partition
from headbench.classify.doctor.finding import Examination, Finding, Grid, Severity
from headbench.classify.doctor.script import ScriptSettings
from headbench.classify.errors import RunError
from headbench.classify.wording import some
from headbench.extract.errors import DataError, LayoutError
from headbench.extract.sources.folder import Folder
from headbench.extract.sources.open import find_images
from headbench.extract.sources.source import Dataset
from headbench.extract.sources.split_folders import repeated, split_of

EXPECTED = 'expected JSON of class names and indices, such as {"apple_pie": 0, "baklava": 1}'
LOG = logging.getLogger(__name__)


def class_parents(dataset: Dataset) -> dict[str, Path]:
    """The folders that hold class folders, by name; train comes first."""
    if dataset.layout == "food101":
        return {"images": dataset.root / "images"}
    if dataset.layout == "class folders":
        return {dataset.root.name: dataset.root}
    names = sorted(filter(split_of, subfolders(dataset.root)), key=_is_after_train)
    paths = (dataset.root / name for name in names)
    return {path.name: path / repeated(path.name, subfolders(path)) for path in paths}


def _is_after_train(folder: str) -> bool:
    return split_of(folder) != "train"


def subfolders(folder: Path) -> list[str]:
    """Names of subfolders, with or without images, in the order of Keras."""
    return sorted(
        path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )


def examine_folders(dataset: Dataset, names_of: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Splits without labels, and class folders without images."""
    if dataset.notes:
        yield Finding(
            "unlabelled-split",
            Severity.NOTE,
            "A split holds images without class folders.",
            dataset.notes,
            "If they have labels, sort them into one folder per class.",
        )
    empty = sorted({name for names in names_of.values() for name in names} - {*dataset.classes})
    if empty:
        yield Finding(
            "empty-class-folders",
            Severity.WARNING,
            f"Class folders without images: {len(empty)}.",
            (f"{some(empty)}.",),
            "Add images or delete the folders: Keras counts each as a class, headbench does not.",
        )


def read_class_indices(path: Path) -> dict[str, int]:
    """Read indices by class name from a JSON object of names and indices, or a list of names.

    Raises
    ------
    RunError
        If the file holds anything else.
    """
    try:
        found = read_json(path)
        pairs = list(_pairs(found))
    except OSError as error:
        raise RunError(f"{path}: {EXPECTED}; cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise RunError(f"{path}: {EXPECTED}; found no JSON ({error}).") from error
    if not pairs or not all(isinstance(name, str) and _is_index(index) for name, index in pairs):
        raise RunError(f"{path}: {EXPECTED}; found {json.dumps(found)[:60]}.")
    return {name: int(index) for name, index in pairs}


def examine_indices(
    names_of: Mapping[str, Sequence[str]], given: Mapping[str, int] | None
) -> Iterator[Finding]:
    """Splits, or a file of class indices, that number the classes differently from train.

    Parameters
    ----------
    names_of
        The class folders in each folder, in the order of Keras; train first.
    given
        Index by class name in the script's file.
    """
    (train, names), *others = names_of.items()
    yield from (_differ(train, names, *other) for other in others if [*other[1]] != [*names])
    if given is not None:
        yield from _given(names, given)


def _differ(train: str, names: Sequence[str], folder: str, other: Sequence[str]) -> Finding:
    index = {name: number for number, name in enumerate(names)}
    other_index = {name: number for number, name in enumerate(other)}
    moved = [name for name in other if index.get(name, len(names)) != other_index[name]]
    # An index that train does not have cannot be confused with another class.
    wrong = [name for name in moved if other_index[name] < len(names)]
    missing = [name for name in names if name not in other_index]
    unknown = [name for name in other if name not in index]
    evidence = [f"{train}: {len(names)} class folders; {folder}: {len(other)}."]
    if missing:
        evidence.append(f"Only in {train}: {some(missing)}.")
    if unknown:
        evidence.append(f"Only in {folder}: {some(unknown)}.")
    if wrong:
        name = wrong[0]
        evidence.append(
            f"Keras numbers the classes of each folder separately. {len(wrong)} of "
            f"{len(other)} classes of {folder} get the index of another class of {train}: "
            f"{name!r} in {folder} counts as {names[other_index[name]]!r}."
        )
    shown = [name for name in sorted({*names, *other}) if index.get(name) != other_index.get(name)]
    rows = [(name, _cell(index, name), _cell(other_index, name)) for name in shown]
    return Finding(
        "classes-differ-between-splits",
        Severity.SEVERE if wrong else Severity.WARNING,
        f"{train}/ and {folder}/ have different class folders.",
        tuple(evidence),
        "Make the same class folders in both, even if some stay empty, or pass the names to Keras "
        "(class_names=..., ImageDataGenerator: classes=...). headbench goes by names and is not "
        "affected.",
        Grid.first(("class", f"index in {train}", f"index in {folder}"), rows),
    )


def _given(names: Sequence[str], given: Mapping[str, int]) -> Iterator[Finding]:
    index = {name: number for number, name in enumerate(names)}
    wrong = [name for name in names if name in given and given[name] != index[name]]
    missing = [name for name in names if name not in given]
    unknown = [name for name in given if name not in index]
    if not wrong and not missing and not unknown:
        return
    evidence = [f"{len(given)} classes in the file, {len(names)} class folders."]
    if wrong:
        evidence.append(f"{len(wrong)} classes have another index in the file: {some(wrong)}.")
    if missing:
        evidence.append(f"Not in the file: {some(missing)}.")
    if unknown:
        evidence.append(f"Only in the file: {some(unknown)}.")
    if names and all(given.get(name) == number + 1 for name, number in index.items()):
        evidence.append("The file counts from 1. Keras counts from 0: subtract 1.")
    if len(set(given.values())) < len(given):
        evidence.append("Several classes have the same index in the file.")
    rows = [(name, _cell(given, name), _cell(index, name)) for name in [*wrong, *missing, *unknown]]
    yield Finding(
        "class-indices-differ",
        Severity.SEVERE if wrong else Severity.WARNING,
        "The script's class indices differ from those of the sorted class folders.",
        tuple(evidence),
        "Write the file again from class_indices (ImageDataGenerator) or class_names "
        "(image_dataset_from_directory) of the training data: Keras numbers class folders in "
        "sorted order. If the script passes this order to Keras (class_names=...), it is "
        "correct.",
        Grid.first(("class", "index in the file", "index in the folder"), rows),
    )


def _pairs(found: Any) -> Iterator[tuple[Any, Any]]:
    """Names and indices, whichever way round they are written."""
    if isinstance(found, list):
        yield from ((name, index) for index, name in enumerate(found))
    elif isinstance(found, dict):
        for key, value in found.items():
            if _is_index(value):
                yield key, value
            else:
                # ImageNet's own file: {"0": ["n01440764", "tench"]}.
                is_pair = isinstance(value, list) and value
                yield value[-1] if is_pair else value, int(key) if key.isdecimal() else None


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _cell(index: Mapping[str, int], name: str) -> str:
    return str(index[name]) if name in index else "-"


def examine_data(root: Path, script: ScriptSettings, is_cropped: bool = True) -> Examination:
    """Examine images, labels, splits and the user's script; each file is read once.

    Parameters
    ----------
    is_cropped : bool
        Whether the images are cropped to the centre, as they are by default.

    Raises
    ------
    RunError
        If the script's file of class indices cannot be read.
    """
    given = read_class_indices(script.class_indices) if script.class_indices else None
    try:
        dataset = find_images(Folder(root))
    except LayoutError as error:
        return Examination(f"{root}: no data set.", [_splits_as_classes(error)])
    except DataError as error:
        return Examination(f"{root}: no data set.", [_no_data_set(root, error)])
    LOG.info(f"{root}: reading {len(dataset.images)} images of {len(dataset.classes)} classes")
    names_of = {name: subfolders(path) for name, path in class_parents(dataset).items()}
    scanned = scan(root, dataset.images, dataset.classes)
    findings = [
        *examine_folders(dataset, names_of),
        *examine_indices(names_of, given),
        *examine_order(dataset, script),
        *examine_classes(scanned),
        *examine_copies(scanned, partition(scanned.images, script)),
        *examine_looks(scanned, script, is_cropped),
        *examine_files(scanned, dataset.rejected),
    ]
    line = (
        f"{root}: {len(dataset.images)} image files in {len(dataset.classes)} classes "
        f"({dataset.layout}), {len(scanned.usable)} of them usable."
    )
    if given is not None and all(each.code != "class-indices-differ" for each in findings):
        line += f" {script.class_indices} has the same class indices as Keras."
    return Examination(line, findings)


def _splits_as_classes(error: LayoutError) -> Finding:
    return Finding("splits-as-classes", Severity.SEVERE, error.what, error.evidence, error.remedy)


def _no_data_set(root: Path, error: DataError) -> Finding:
    return Finding(
        "no-data-set",
        Severity.SEVERE,
        f"{root} is not a folder of labelled images.",
        (str(error),),
        "Name a folder with one folder per class, or with train/, val/ and test/ that hold class "
        "folders.",
    )
