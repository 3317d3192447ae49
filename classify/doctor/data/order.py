"""A share for validation that is taken by the order of files."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from classify.doctor.data.splits import carved, describe_rule
from classify.doctor.finding import Finding, Grid, Severity
from classify.doctor.script import GENERATOR, ScriptSettings
from classify.wording import share, some
from extract.sources.source import Dataset

# A class with fewer images to be expected in validation may well have none, by chance alone.
EXPECTED_IN_VAL = 3
MOST_ROWS = 12
REMEDY = (
    "Let each class be split for itself, by chance: 'make features' does. In Keras: "
    "image_dataset_from_directory(validation_split=..., subset=..., seed=...) with the same seed "
    "for both and shuffle left on; or shuffle images and labels together before fit; or make "
    "train/ and val/ folders."
)


def examine_order(dataset: Dataset, script: ScriptSettings) -> Iterator[Finding]:
    """Classes that only train or only validation has, where the script splits by file order."""
    is_val = carved(dataset.images, script)
    if not is_val:
        return
    label_of = {name: label for label, name in enumerate(dataset.classes)}
    counts = np.zeros((len(dataset.classes), 2), dtype=int)
    for row, of_val in is_val.items():
        counts[label_of[dataset.images[row].class_name], int(of_val)] += 1
    unlearnt = (counts[:, 0] == 0) & (counts[:, 1] > 0)
    unseen = (counts[:, 1] == 0) & (
        counts[:, 0] * (script.validation_split or 0) >= EXPECTED_IN_VAL
    )
    if unlearnt.any() or unseen.any():
        yield _by_order(dataset.classes, counts, unlearnt, unseen, script)
    elif script.loader == GENERATOR:
        yield _by_name(dataset.classes, counts, script)


def _by_order(
    classes: tuple[str, ...],
    counts: NDArray[np.int_],
    unlearnt: NDArray[np.bool_],
    unseen: NDArray[np.bool_],
    script: ScriptSettings,
) -> Finding:
    n_train, n_val = counts.sum(axis=0).tolist()
    n_unlearnt = int(counts[unlearnt, 1].sum())
    evidence = [
        f"{describe_rule(script)}: {n_train} for training, {n_val} for validation.",
        f"Validation has images of {int((counts[:, 1] > 0).sum())} of {len(classes)} classes: "
        f"{some(_named(classes, counts[:, 1] > 0))}.",
    ]
    if n_unlearnt:
        evidence.append(
            f"Only in validation: {some(_named(classes, unlearnt))}, {n_unlearnt} of {n_val} "
            "images. No network can answer with a class that it was never shown: validation "
            f"accuracy can be {share(1 - n_unlearnt / n_val)} at most."
        )
    if unseen.any():
        evidence.append(
            f"Never validated: {some(_named(classes, unseen))}. What is measured says nothing of "
            "them."
        )
    return Finding(
        "split-by-file-order",
        Severity.SEVERE,
        "Validation has other classes than training: the files are split in the order of their "
        "names, class after class.",
        tuple(evidence),
        REMEDY,
        _table(classes, counts),
    )


def _by_name(classes: tuple[str, ...], counts: NDArray[np.int_], script: ScriptSettings) -> Finding:
    without = _named(classes, counts[:, 1] == 0)
    evidence = [
        f"{describe_rule(script)}: {counts[:, 0].sum()} for training, {counts[:, 1].sum()} for "
        "validation.",
        "If names tell when or where images were taken, or of whom, validation is of another kind "
        "than training; copies that are named alike lie together.",
    ]
    if without:
        evidence.append(f"Too small to have an image in validation: {some(without)}.")
    return Finding(
        "split-by-file-order",
        Severity.WARNING if without else Severity.NOTE,
        "Validation is the beginning of each class, by file name, and not drawn by chance.",
        tuple(evidence),
        REMEDY,
    )


def _named(classes: tuple[str, ...], has: NDArray[np.bool_]) -> list[str]:
    return [classes[label] for label in np.flatnonzero(has)]


def _table(classes: tuple[str, ...], counts: NDArray[np.int_]) -> Grid:
    # Those of validation come last by name: they are what is to be seen.
    of_interest = sorted(range(len(classes)), key=lambda label: (-counts[label, 1], label))
    shown = sorted(of_interest[:MOST_ROWS])
    rows = [(classes[at], str(counts[at, 0]), str(counts[at, 1])) for at in shown]
    if len(classes) > MOST_ROWS:
        rest = of_interest[MOST_ROWS:]
        rows.append((f"{len(rest)} others", str(counts[rest, 0].sum()), str(counts[rest, 1].sum())))
    return Grid(("class", "for training", "for validation"), tuple(rows))
