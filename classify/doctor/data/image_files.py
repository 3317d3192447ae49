"""Findings about image files, and about their numbers in each class."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.cache.format import Rejected
from headbench.classify.doctor.data.scan import MOST_PHOTOS, Scan, distinct
from headbench.classify.doctor.finding import MOST_ROWS, Finding, Grid, Severity
from headbench.classify.doctor.script import ScriptSettings
from headbench.classify.intervals import wilson
from headbench.classify.wording import count, percent, share, some
from headbench.extract.images.resizing import Resizing
from headbench.extract.settings import USUAL_PX
from headbench.extract.splits import FEWEST_PER_CLASS

FEW_PER_CLASS = 20
UNEVEN, VERY_UNEVEN = 3, 10
SEVERE_TWO_LABELS = 0.01
# Lost shares of all images, and of one class, that are severe.
SEVERE_SHARE, SEVERE_SHARE_OF_CLASS = 0.2, 0.5
MOST_REASONS = 5
# Enlarged more than this many times to fit the network's input, an image is tiny.
TINY_TIMES = 2
MANY_TINY, MANY_ROTATED = 0.1, 0.05
# A class stands out if most of its images have a property that few of the others have.
MOST_OF_CLASS, FEW_OF_OTHERS = 0.5, 0.2
# A crop that cuts off a larger share of an image's pixels loses much. Photographs of 3:2 lose 49 %.
MUCH_CUT = 0.5
# The smallest input of keras.applications.
SMALLEST_INPUT_PX = 32
ON_ITS_SIDE = {3: "upside down", 6: "rotated to the left", 8: "rotated to the right"}


def examine_classes(scan: Scan) -> Iterator[Finding]:
    """All findings about the classes."""
    yield from _few_images(scan)
    yield from _imbalance(scan)
    yield from _two_labels(scan)


def _few_images(scan: Scan) -> Iterator[Finding]:
    different = scan.counts(distinct(scan, scan.labels))
    few = [
        label for label in np.argsort(different, kind="stable") if different[label] < FEW_PER_CLASS
    ]
    if not few:
        return
    n_hopeless = int((different < FEWEST_PER_CLASS).sum())
    fewest = FEWEST_PER_CLASS if n_hopeless else FEW_PER_CLASS
    remedy = (
        f"Add images, or move these classes away: a class needs {FEWEST_PER_CLASS} different "
        "images, one each for train, val and test."
        if n_hopeless
        else "Add images, or merge such classes. Until then confidence intervals are wide; "
        "'headbench heads --folds 5' narrows them by cross-validation on train and val."
    )
    yield Finding(
        "few-images",
        Severity.SEVERE if n_hopeless else Severity.WARNING,
        f"Classes with fewer than {fewest} different images: {n_hopeless or len(few)} of "
        f"{len(scan.classes)}.",
        (
            f"{len(scan.usable)} usable images; the median class has {np.median(different):.0f} "
            "different images.",
        ),
        remedy,
        Grid.first(
            ("class", "different images"),
            [(scan.classes[label], str(different[label])) for label in few],
        ),
    )


def _imbalance(scan: Scan) -> Iterator[Finding]:
    given = np.array([image.given_split or "" for image in scan.images])
    counts = scan.counts(scan.is_usable & np.isin(given, ("train", "")))
    if not counts.any():
        return
    smallest, largest = int(counts[counts > 0].min()), int(counts.max())
    ratio = largest / smallest
    if ratio < UNEVEN:
        return
    n, name = int(counts.sum()), scan.classes[int(counts.argmax())]
    of_what = "images of train" if (given == "train").any() else "images"
    by_count = sorted(range(len(counts)), key=lambda label: -counts[label])
    shown = by_count if len(by_count) <= MOST_ROWS else by_count[:6] + by_count[-6:]
    yield Finding(
        "imbalance",
        Severity.WARNING if ratio >= VERY_UNEVEN else Severity.NOTE,
        f"The largest class has {ratio:.0f} times as many images as the smallest.",
        (
            f"{largest} and {smallest} of {n} {of_what}.",
            f"Always predicting {name!r} gives {share(largest / n)} accuracy: compare with that.",
        ),
        "Report recall per class and balanced accuracy, not accuracy alone. Train with "
        "'headbench heads --class-weight balanced' (Keras: class_weight), or add images of the "
        "small classes.",
        Grid.first(
            ("class", of_what), [(scan.classes[label], str(counts[label])) for label in shown]
        ),
    )


def _two_labels(scan: Scan) -> Iterator[Finding]:
    rows = distinct(scan, scan.labels)
    n_labels = np.bincount(scan.content_numbers[rows], minlength=len(scan.images))
    is_twofold = n_labels[scan.content_numbers] > 1
    n = int((is_twofold & scan.is_usable).sum())
    if not n:
        return
    estimate = wilson(n, len(scan.usable))
    groups = sorted(rows[is_twofold[rows]].tolist(), key=lambda row: scan.content_numbers[row])
    yield Finding(
        "one-image-two-labels",
        Severity.SEVERE if estimate.low > SEVERE_TWO_LABELS else Severity.WARNING,
        f"The same image is in folders of different classes: {int((n_labels > 1).sum())} images.",
        (
            f"{n} of {len(scan.usable)} files have the same bytes (SHA-256) as a file of another "
            f"class: {percent(estimate)}.",
            "Any prediction is wrong for one of the two files.",
        ),
        "Delete the copy with the wrong label, or both. If an image shows several things, use a "
        "model with one sigmoid output per class: one label per image cannot express that.",
        photos=tuple(
            scan.photo(row, f"{scan.class_of(row)}, copy {scan.contents[row].hex()[:6]}")
            for row in groups[:MOST_PHOTOS]
        ),
    )


def examine_files(scan: Scan, left_out: Sequence[Rejected]) -> Iterator[Finding]:
    """Corrupt image files, and files that are not labelled images."""
    yield from _corrupt(scan)
    if left_out:
        yield Finding(
            "files-left-out",
            Severity.NOTE,
            f"Files that are not labelled images: {len(left_out)}.",
            tuple(_reasons([(each.path, each.reason) for each in left_out])),
            "If there are images among them, move them into the folder of their class.",
        )


def _corrupt(scan: Scan) -> Iterator[Finding]:
    rows = np.flatnonzero(~scan.is_usable)
    if not len(rows):
        return
    lost_share = len(rows) / len(scan.images)
    lost = scan.counts(rows) / scan.counts(np.arange(len(scan.images)))
    worst = [scan.classes[label] for label in np.flatnonzero(lost >= SEVERE_SHARE_OF_CLASS)]
    found = [(scan.images[row].path, scan.reasons[row]) for row in rows]
    evidence = [f"{len(rows)} of {len(scan.images)} files: {share(lost_share)}.", *_reasons(found)]
    if worst:
        evidence.append(f"Classes that lose at least half of their images: {some(worst)}.")
    yield Finding(
        "corrupt-files",
        Severity.SEVERE if worst or lost_share >= SEVERE_SHARE else Severity.WARNING,
        f"Unusable image files: {len(rows)}.",
        tuple(evidence),
        "Download them again, or delete them. headbench leaves them out and lists them. A Keras "
        "script stops at such a file, or trains on a grey image instead.",
        photos=tuple(scan.photo(row, scan.reasons[row]) for row in rows[:MOST_PHOTOS].tolist()),
    )


def _reasons(found: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Each reason with some of its files, the most frequent first."""
    n_of = Counter(reason for _, reason in found).most_common()
    for reason, n in n_of[:MOST_REASONS]:
        names = some([path for path, its in found if its == reason])
        yield f"{count(n, 'file')}, {reason}: {names}."
    if len(n_of) > MOST_REASONS:
        yield f"And {sum(n for _, n in n_of[MOST_REASONS:])} more for other reasons."


def examine_looks(scan: Scan, script: ScriptSettings, is_cropped: bool) -> Iterator[Finding]:
    """Tiny, grey and rotated images, and those of which a crop leaves little."""
    size_px = script.size or USUAL_PX
    yield from _tiny(scan, size_px)
    if is_cropped:
        yield from _cut_off(scan, size_px)
    yield from _grey(scan)
    yield from _rotated(scan)


def stand_out(scan: Scan, has: NDArray[np.bool_]) -> list[int]:
    """Classes in which most images have a property that few images of other classes have.

    Both shares are judged by the bounds of their 95 % intervals, so that a few images are no
    evidence. `has` is bool (n_images,).
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
        f"Images less than half the size of the network's input ({size_px} px): {len(rows)}.",
        (
            f"The shorter side of {len(rows)} of {len(scan.usable)} images ({share(part)}) is "
            f"below {size_px / TINY_TIMES:.0f} px. The smallest has {shorter[rows].min()} px, the "
            f"median of all images {np.median(shorter[scan.usable]):.0f} px.",
            *_given_away(scan, is_tiny, apart, "tiny"),
        ),
        "Find larger originals: enlarged images are blurred, unlike those that the network was "
        "trained on. If there are none, try a smaller input: 'headbench features DATA --size "
        f"{good_size}'.",
        photos=tuple(
            scan.photo(row, f"{scan.sides[row][0]} x {scan.sides[row][1]} px")
            for row in rows[np.argsort(shorter[rows], kind="stable")][:MOST_PHOTOS].tolist()
        ),
    )


def _cut_off(scan: Scan, size_px: int) -> Iterator[Finding]:
    """Whether most images of all, or of a class, lose much to the crop of the centre."""
    rows, cut = scan.usable, np.zeros(len(scan.images))
    cut[rows] = cut_shares(scan.sides[rows], size_px)
    n_much, n_all = scan.counts(cut > MUCH_CUT), scan.counts(rows)

    def are_most(n: int, n_images: int) -> bool:
        return n_images > 0 and wilson(n, n_images).low > MOST_OF_CLASS

    classes = [label for label, n in enumerate(n_all.tolist()) if are_most(int(n_much[label]), n)]
    is_all = are_most(int(n_much.sum()), len(rows))
    if not (classes or is_all):
        return
    medians = {label: np.median(cut[rows[scan.labels[rows] == label]]) for label in classes}
    longest = rows[np.argsort(-cut[rows], kind="stable")]
    whose = "" if is_all else f" of {len(classes)} of {len(scan.classes)} classes"
    yield Finding(
        "crop-cuts-off",
        Severity.NOTE,
        "headbench's default, the crop to the centre, cuts off more than half of the pixels of "
        f"most images{whose}.",
        (
            f"Median image: {share(np.median(cut[rows]))} cut off; longest image: "
            f"{share(cut[longest[0]])}; square images: "
            f"{share(cut_shares(np.ones((1, 2)), size_px)[0])}. n = {len(rows)}.",
        ),
        "If what tells the classes apart may lie at the edges, keep whole images and compare the "
        "runs by val: 'headbench features DATA --resize squash' changes the aspect ratio, "
        "'--resize letterbox' puts a frame around. Give each run its own --name.",
        Grid.first(
            ("class", "cut off its median image", "images"),
            [
                (scan.classes[label], share(medians[label]), str(n_all[label]))
                for label in sorted(classes, key=lambda label: -medians[label])
            ],
        ),
        tuple(
            scan.photo(row, "{} x {} px: {} cut off".format(*scan.sides[row], share(cut[row])))
            for row in longest[:MOST_PHOTOS].tolist()
        ),
    )


def cut_shares(sides: NDArray[Any], size_px: int) -> NDArray[np.float64]:
    """Share of the pixels that the crop of `Resizing` cuts off, float64 (n,), 0 to 1.

    `sides` are widths and heights, (n, 2).
    """
    resized = Resizing(size_px).shorter_px * sides / sides.min(axis=1, keepdims=True)
    shares: NDArray[np.float64] = 1 - size_px**2 / resized.prod(axis=1)
    return shares


def _grey(scan: Scan) -> Iterator[Finding]:
    rows = np.flatnonzero(scan.is_grey)
    if not len(rows):
        return
    apart = stand_out(scan, scan.is_grey)
    n, n_all = len(rows), len(scan.usable)
    yield Finding(
        "grey-images",
        Severity.WARNING if apart else Severity.NOTE,
        f"Most images of {some([scan.classes[label] for label in apart])} are grey, those of "
        "other classes are not."
        if apart
        else f"Images without colour: {n}.",
        (
            f"{n} of {n_all} images ({share(n / n_all)}) are grey.",
            *_given_away(scan, scan.is_grey, apart, "grey"),
        ),
        "Add grey images of the other classes and colour images of these, or convert all images "
        "to grey."
        if apart
        else "Nothing, if new images will be like these.",
        photos=tuple(scan.photo(row, scan.class_of(row)) for row in rows[:MOST_PHOTOS].tolist()),
    )


def _rotated(scan: Scan) -> Iterator[Finding]:
    is_rotated = scan.is_usable & (scan.orientations != 1)
    rows = np.flatnonzero(is_rotated)
    if not len(rows):
        return
    part, apart = len(rows) / len(scan.usable), stand_out(scan, is_rotated)
    yield Finding(
        "exif-rotated",
        Severity.WARNING if apart or part >= MANY_ROTATED else Severity.NOTE,
        f"Photographs that are stored rotated, with their orientation in EXIF: {len(rows)}.",
        (
            f"{len(rows)} of {len(scan.usable)} images ({share(part)}).",
            "tf.io.decode_jpeg, image_dataset_from_directory and ImageDataGenerator ignore the "
            "orientation, so the network sees them rotated. Image viewers show them upright.",
            *_given_away(scan, is_rotated, apart, "stored rotated"),
        ),
        "headbench rotates them upright in every command. In your own script, apply "
        "PIL.ImageOps.exif_transpose to images for training and for prediction.",
        photos=tuple(
            scan.photo(row, f"orientation {way}: {ON_ITS_SIDE.get(way, 'mirrored')} as stored")
            for row, way in zip(rows[:MOST_PHOTOS].tolist(), scan.orientations[rows], strict=False)
        ),
    )


def _given_away(scan: Scan, has: NDArray[np.bool_], apart: list[int], word: str) -> Iterator[str]:
    if apart:
        n_with, n_all = scan.counts(has), scan.counts(scan.usable)
        yield "; ".join(
            f"{scan.classes[label]}: {n_with[label]} of {n_all[label]}" for label in apart[:5]
        ) + (
            f"; all other classes: {n_with.sum() - n_with[apart].sum()} of "
            f"{n_all.sum() - n_all[apart].sum()}. A classifier may learn that every {word} image "
            "belongs to one of these classes."
        )
