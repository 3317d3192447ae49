"""How the images look: tiny, grey, lying on their side."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from classify.doctor.data.scan import MOST_PHOTOS, Scan
from classify.doctor.finding import Finding, Severity
from classify.doctor.script import ScriptSettings
from classify.intervals import wilson
from classify.wording import share, some
from extract.settings import ExtractSettings

# An image that the network's input shows enlarged this many times is tiny.
TINY_TIMES = 2
MANY_TINY, MANY_TURNED = 0.1, 0.05
# A class stands out if most of its images have what few of the others have.
MOST_OF_CLASS, FEW_OF_OTHERS = 0.5, 0.2
# Keras' networks take no smaller ones.
SMALLEST_INPUT_PX = 32
ON_ITS_SIDE = {3: "upside down", 6: "lies on its left side", 8: "lies on its right side"}


def examine_looks(scan: Scan, script: ScriptSettings) -> Iterator[Finding]:
    """Tiny, grey and turned images."""
    yield from _tiny(scan, script.size or ExtractSettings().size_px)
    yield from _grey(scan)
    yield from _turned(scan)


def stand_out(scan: Scan, has: NDArray[np.bool_]) -> list[int]:
    """Classes most of whose images have something that few images of other classes have.

    Both shares by the ends of their 95 % intervals (`classify.intervals.wilson`), so that a handful
    of images proves nothing.

    Parameters
    ----------
    scan : Scan
    has : bool (n_images,)
    """
    n_with, n_all = scan.counts(has & scan.is_usable), scan.counts(scan.usable)
    most = [
        label
        for label in np.flatnonzero(n_with).tolist()
        if wilson(int(n_with[label]), int(n_all[label])).low > MOST_OF_CLASS
    ]
    others = np.setdiff1d(np.arange(len(scan.classes)), most)
    n_others = int(n_all[others].sum())
    if not most or not n_others:
        return []
    return most if wilson(int(n_with[others].sum()), n_others).high < FEW_OF_OTHERS else []


def _tiny(scan: Scan, size_px: int) -> Iterator[Finding]:
    shorter = scan.sides.min(axis=1)
    is_tiny = scan.is_usable & (shorter * TINY_TIMES < size_px)
    rows = np.flatnonzero(is_tiny)
    if not len(rows):
        return
    part, apart = len(rows) / len(scan.usable), stand_out(scan, is_tiny)
    good_size = max(int(np.median(shorter[rows])), SMALLEST_INPUT_PX)
    yield Finding(
        "tiny-images",
        Severity.WARNING if apart or part >= MANY_TINY else Severity.NOTE,
        f"Images far smaller than the network's input of {size_px} px: {len(rows)}.",
        (
            f"The shorter side of {len(rows)} of {len(scan.usable)} images ({share(part)}) is "
            f"below {size_px / TINY_TIMES:.0f} px; the smallest has {shorter[rows].min()} px, the "
            f"median of all {np.median(shorter[scan.usable]):.0f} px.",
            *_given_away(scan, is_tiny, apart, "tiny"),
        ),
        "Enlarged they are blurred, which the photographs that the network knows were not. Look "
        "for the originals; if there are none, try a smaller input: 'make features "
        f"SIZE={good_size}'.",
        photos=tuple(
            scan.photo(row, f"{scan.sides[row][0]} x {scan.sides[row][1]} px")
            for row in rows[np.argsort(shorter[rows], kind="stable")][:MOST_PHOTOS].tolist()
        ),
    )


def _grey(scan: Scan) -> Iterator[Finding]:
    rows = np.flatnonzero(scan.is_grey)
    if not len(rows):
        return
    apart = stand_out(scan, scan.is_grey)
    n, n_all = len(rows), len(scan.usable)
    yield Finding(
        "grey-images",
        Severity.WARNING if apart else Severity.NOTE,
        f"Grey where others have colours: most images of {some(_names(scan, apart))}."
        if apart
        else f"Images without colour: {n}.",
        (
            f"{n} of {n_all} images ({share(n / n_all)}) are grey.",
            *_given_away(scan, scan.is_grey, apart, "grey"),
        ),
        "Add grey images of the other classes and coloured ones of these, or turn all images grey."
        if apart
        else "Nothing need be done, as long as new images will be like these.",
        photos=tuple(scan.photo(row, scan.class_of(row)) for row in rows[:MOST_PHOTOS].tolist()),
    )


def _turned(scan: Scan) -> Iterator[Finding]:
    is_turned = scan.is_usable & (scan.orientations != 1)
    rows = np.flatnonzero(is_turned)
    if not len(rows):
        return
    part, apart = len(rows) / len(scan.usable), stand_out(scan, is_turned)
    yield Finding(
        "exif-rotated",
        Severity.WARNING if apart or part >= MANY_TURNED else Severity.NOTE,
        f"Photographs that are stored turned, with a note in EXIF of which way is up: {len(rows)}.",
        (
            f"{len(rows)} of {len(scan.usable)} images ({share(part)}).",
            "tf.io.decode_jpeg, image_dataset_from_directory and ImageDataGenerator take no notice "
            "of it: the network gets them as they are stored. Viewers show them upright.",
            *_given_away(scan, is_turned, apart, "stored turned"),
        ),
        "headbench turns them upright in all its stages: with 'make features' and 'make predict' "
        "there is nothing to do. For a script of your own, save them turned "
        "(PIL.ImageOps.exif_transpose), and turn those that it is to predict too.",
        photos=tuple(
            scan.photo(row, _how_turned(int(scan.orientations[row])))
            for row in rows[:MOST_PHOTOS].tolist()
        ),
    )


def _how_turned(orientation: int) -> str:
    return f"orientation {orientation}: {ON_ITS_SIDE.get(orientation, 'mirrored')} as stored"


def _given_away(scan: Scan, has: NDArray[np.bool_], apart: list[int], word: str) -> Iterator[str]:
    if apart:
        n_with, n_all = scan.counts(has), scan.counts(scan.usable)
        yield "; ".join(
            f"{scan.classes[label]}: {n_with[label]} of {n_all[label]}" for label in apart[:5]
        ) + (
            f"; all other classes: {n_with.sum() - n_with[apart].sum()} of "
            f"{n_all.sum() - n_all[apart].sum()}. A classifier may take whatever is {word} for "
            "one of these classes."
        )


def _names(scan: Scan, labels: list[int]) -> list[str]:
    return [scan.classes[label] for label in labels]
