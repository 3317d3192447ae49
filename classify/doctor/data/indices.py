"""Class names and their indices: in each folder, and in the script's own file."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from classify.doctor.finding import Finding, Grid, Severity
from classify.errors import RunError
from classify.wording import some

EXPECTED = 'expected JSON of class names and indices, such as {"apple_pie": 0, "baklava": 1}'
MOST_ROWS = 12


def read_class_indices(path: Path) -> dict[str, int]:
    """Index by class name: of an object either way round, or of a list of names.

    Raises
    ------
    RunError
        If the file is anything else.
    """
    try:
        found = json.loads(path.read_text("utf-8-sig"))
        pairs = list(_pairs(found))
    except OSError as error:
        raise RunError(f"{path}: {EXPECTED}; cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: {EXPECTED}; found no JSON ({error}).") from error
    if not pairs or not all(isinstance(name, str) and _is_index(index) for name, index in pairs):
        raise RunError(f"{path}: {EXPECTED}; found {json.dumps(found)[:60]}.")
    return {name: int(index) for name, index in pairs}


def examine_indices(
    names_of: Mapping[str, Sequence[str]], given: Mapping[str, int] | None
) -> Iterator[Finding]:
    """Folders that number their classes differently, and a file that does.

    Parameters
    ----------
    names_of : mapping of str to sequence of str
        The class folders in each folder, as Keras sorts them; train first.
    given : mapping of str to int or None
        What the script's own file says.
    """
    (train, names), *others = names_of.items()
    for folder, other in others:
        if list(other) != list(names):
            yield _differ(train, names, folder, other)
    if given is not None:
        yield from _given(names, given)


def _differ(train: str, names: Sequence[str], folder: str, other: Sequence[str]) -> Finding:
    index = {name: number for number, name in enumerate(names)}
    other_index = {name: number for number, name in enumerate(other)}
    moved = [name for name in other if index.get(name, len(names)) != other_index[name]]
    # What train has no index for is scored as whatever has it there.
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
            f"Keras numbers the class folders of each folder by itself. {len(wrong)} of "
            f"{len(other)} classes of {folder} get the index of another class of {train}: what is "
            f"{name!r} in {folder} counts as {names[other_index[name]]!r}."
        )
    shown = [name for name in sorted({*names, *other}) if index.get(name) != other_index.get(name)]
    rows = [(name, _cell(index, name), _cell(other_index, name)) for name in shown]
    return Finding(
        "classes-differ-between-splits",
        Severity.SEVERE if wrong else Severity.WARNING,
        f"The class folders of {train}/ and {folder}/ are not the same.",
        tuple(evidence),
        "Give both the same class folders, even if one stays empty; or name the classes to Keras "
        "(class_names=..., ImageDataGenerator: classes=...). headbench goes by names and is not "
        "misled.",
        _grid(("class", f"index in {train}", f"index in {folder}"), rows),
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
    if len(set(given.values())) < len(given):
        evidence.append("In the file several classes have the same index.")
    rows = [(name, _cell(given, name), _cell(index, name)) for name in [*wrong, *missing, *unknown]]
    yield Finding(
        "class-indices-differ",
        Severity.SEVERE if wrong else Severity.WARNING,
        "The script's class indices are not those of the folder in sorted order.",
        tuple(evidence),
        "Keras numbers class folders in the sorted order of their names. Write the file anew from "
        "class_indices (ImageDataGenerator) or class_names (image_dataset_from_directory) of the "
        "training data; if the script hands this very order to Keras (class_names=...), all is "
        "well.",
        _grid(("class", "index in the file", "index in the folder"), rows),
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


def _grid(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Grid:
    more = [(f"and {len(rows) - MOST_ROWS} more", "", "")] if len(rows) > MOST_ROWS else []
    return Grid(columns, (*rows[:MOST_ROWS], *more))
