"""Findings about classes: too few images, imbalance, one image under two labels."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from headbench.classify.doctor.data.scan import MOST_PHOTOS, Scan, distinct
from headbench.classify.doctor.finding import Finding, Grid, Severity
from headbench.classify.intervals import wilson
from headbench.classify.wording import percent, share
from headbench.extract.splits import FEWEST_PER_CLASS

FEW_PER_CLASS = 20
UNEVEN, VERY_UNEVEN = 3, 10
SEVERE_SHARE = 0.01
MOST_ROWS = 12


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
        f"Train, val and test need one image each, so a class needs {FEWEST_PER_CLASS} different "
        "images: add images, or move these classes away."
        if n_hopeless
        else "Add images, or join such classes. Until then confidence intervals are wide; "
        "'make heads FOLDS=5' narrows them by cross-validation on train and val."
    )
    yield Finding(
        "few-images",
        Severity.SEVERE if n_hopeless else Severity.WARNING,
        f"Classes with fewer than {fewest} different images: {n_hopeless or len(few)} of "
        f"{len(scan.classes)}.",
        (
            f"{len(scan.usable)} usable images; the median class has {np.median(different):.0f} "
            "different ones.",
        ),
        remedy,
        _table(scan, few, "different images", different),
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
            f"Always answering {name!r} gives {share(largest / n)} accuracy: compare with that.",
        ),
        "Report recall per class and balanced accuracy, not accuracy alone. Train with "
        "CLASS_WEIGHT=balanced (Keras: class_weight), or add images of the small classes.",
        _table(scan, shown, of_what, counts),
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
        Severity.SEVERE if estimate.low > SEVERE_SHARE else Severity.WARNING,
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


def _table(scan: Scan, labels: list[int], column: str, counts: NDArray[np.intp]) -> Grid:
    rows = [(scan.classes[label], str(counts[label])) for label in labels[:MOST_ROWS]]
    if len(labels) > MOST_ROWS:
        rows.append((f"and {len(labels) - MOST_ROWS} more", ""))
    return Grid(("class", column), tuple(rows))
