"""Findings about duplicates and near-duplicates: across splits, with two labels, in one class."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.cache.format import SPLITS
from headbench.classify.doctor.data.alike import Alike, find_alike
from headbench.classify.doctor.data.scan import MOST_PHOTOS, Scan, distinct
from headbench.classify.doctor.data.script_split import TEST, UNKNOWN, VAL, Partition
from headbench.classify.doctor.finding import Finding, Photo, Severity, not_checked
from headbench.classify.intervals import wilson
from headbench.classify.wording import count, share

NO_ROW = -1
MANY = 0.05
MOST_PAIRS = MOST_PHOTOS // 2
HOW_NEAR = (
    "Found by a perceptual hash and grey thumbnails, mirror images included. Look at the "
    "photographs before you delete any."
)


@dataclass(frozen=True)
class Kinds:
    """The different contents (SHA-256) of the usable images.

    Attributes
    ----------
    of_image : intp (n_images,)
        Number of the content of each image; -1 for an unusable one.
    first : intp (n_kinds,)
        First image of each content.
    in_split : intp (n_kinds, 3)
        An image with this content in train, val and test; -1 for a split without one.
    near_in_split : intp (n_kinds, 3)
        A near-duplicate, not a duplicate, in train, val and test; -1 for a split without one.
    alike
        Pairs of contents that are near-duplicates.
    """

    of_image: NDArray[np.intp]
    first: NDArray[np.intp]
    in_split: NDArray[np.intp]
    near_in_split: NDArray[np.intp]
    alike: Alike

    def near_pairs(self, labels: NDArray[np.intp], is_same_class: bool) -> list[tuple[int, int]]:
        """Images of near-duplicate contents, within a class or of two classes."""
        first, second = self.first[self.alike.first], self.first[self.alike.second]
        # A mirror image may mean something else: b and d.
        is_same = labels[first] == labels[second]
        keep = is_same if is_same_class else ~is_same & ~self.alike.is_mirrored
        return list(zip(first[keep].tolist(), second[keep].tolist(), strict=True))


def sort_by_kind(scan: Scan, parts: Partition) -> Kinds:
    """Group the usable images by content, and find near-duplicate contents."""
    _, at, kinds = np.unique(
        scan.content_numbers[scan.usable], return_index=True, return_inverse=True
    )
    first = scan.usable[at]
    of_image = np.full(len(scan.images), NO_ROW, dtype=np.intp)
    of_image[scan.usable] = kinds
    alike = find_alike(scan.hashes[first], scan.thumbnails[first])
    in_split = np.full((len(first), len(SPLITS)), NO_ROW, dtype=np.intp)
    placed = np.flatnonzero(scan.is_usable & (parts.splits != UNKNOWN))
    in_split[of_image[placed], parts.splits[placed]] = placed
    near = np.full_like(in_split, NO_ROW)
    for one, other in ((alike.first, alike.second), (alike.second, alike.first)):
        np.maximum.at(near, one, in_split[other])
    return Kinds(of_image, first, in_split, near, alike)


def examine_copies(scan: Scan, parts: Partition) -> Iterator[Finding]:
    """All findings about duplicates and near-duplicates."""
    kinds = sort_by_kind(scan, parts)
    yield from _across_splits(scan, parts, kinds, is_exact=True)
    yield from _across_splits(scan, parts, kinds, is_exact=False)
    yield from _near_two_labels(scan, kinds)
    yield from _in_one_class(scan, parts)
    yield from _near_in_one_class(scan, parts, kinds)
    yield from _unsearched(kinds)


def outweighs_chance(n_copies: int, n: int) -> bool:
    """Whether the share of copies is more than half the 95 % interval of an accuracy of 0.5."""
    middle = wilson(n // 2, n)
    return n_copies / n > (middle.high - middle.low) / 2


class _Leak(NamedTuple):
    """Images of a split with a copy in an earlier split."""

    split: int
    n_images: int
    copies: NDArray[np.intp]
    originals: NDArray[np.intp]


def _across_splits(scan: Scan, parts: Partition, kinds: Kinds, is_exact: bool) -> Iterator[Finding]:
    leaks = [_leak(scan, parts, kinds, split, is_exact) for split in (VAL, TEST)]
    leaks = [leak for leak in leaks if len(leak.copies)]
    if not leaks:
        return
    pairs = [
        pair
        for leak in leaks
        for pair in zip(leak.copies.tolist(), leak.originals.tolist(), strict=True)
    ]
    # Near-duplicates are never severe: drawings may differ as little without being copies.
    worst = [
        leak for leak in leaks if is_exact and outweighs_chance(len(leak.copies), leak.n_images)
    ]
    what = "Duplicates" if is_exact else "Near-duplicates"
    yield Finding(
        "copies-across-splits" if is_exact else "near-copies-across-splits",
        Severity.SEVERE if worst else Severity.WARNING,
        f"{what} of the same image are in several splits.",
        (
            *(_describe(leak, is_exact) for leak in leaks),
            *(
                f"That can change the accuracy on {SPLITS[leak.split]} by more than its 95 % "
                f"confidence interval (n={leak.n_images})."
                for leak in worst
            ),
            f"Splits: {parts.rule}.",
            "Test images that are also in train make the accuracy look higher than it is.",
            *([] if is_exact else [HOW_NEAR]),
        ),
        "Keep all copies of an image in one split, preferably train; delete them from val and "
        "test. "
        + (
            "'headbench features' splits class folders by content: duplicates stay together."
            if is_exact
            else "Split first, then augment. Split by scene, video or person, not by file."
        ),
        photos=tuple(_photos(scan, pairs[:MOST_PAIRS], parts)),
    )


def _leak(scan: Scan, parts: Partition, kinds: Kinds, split: int, is_exact: bool) -> _Leak:
    rows = np.flatnonzero(scan.is_usable & (parts.splits == split))
    exact, near = (
        table[kinds.of_image[rows], :split].max(axis=1, initial=NO_ROW)
        for table in (kinds.in_split, kinds.near_in_split)
    )
    originals = exact if is_exact else np.where(exact == NO_ROW, near, NO_ROW)
    is_copy = originals != NO_ROW
    return _Leak(split, len(rows), rows[is_copy], originals[is_copy])


def _describe(leak: _Leak, is_exact: bool) -> str:
    n, n_all = len(leak.copies), leak.n_images
    which = "a duplicate (same SHA-256)" if is_exact else "a near-duplicate"
    return (
        f"{n} of {n_all} images of {SPLITS[leak.split]} ({share(n / n_all)}) have {which} in "
        f"{' or '.join(SPLITS[: leak.split])}."
    )


def _near_two_labels(scan: Scan, kinds: Kinds) -> Iterator[Finding]:
    pairs = kinds.near_pairs(scan.labels, is_same_class=False)
    if pairs:
        n, n_all = len(np.unique(pairs)), len(kinds.first)
        yield Finding(
            "near-copies-two-labels",
            Severity.WARNING,
            f"Near-duplicates have different labels: {count(len(pairs), 'pair')}.",
            (
                f"{n} of {n_all} different images ({share(n / n_all)}) are in such a pair.",
                HOW_NEAR,
            ),
            "In each pair one label is wrong, or the image shows both classes: correct or delete "
            "it.",
            photos=tuple(_photos(scan, pairs[:MOST_PAIRS], None)),
        )


def _in_one_class(scan: Scan, parts: Partition) -> Iterator[Finding]:
    places = scan.labels * (len(SPLITS) + 1) + parts.splits - UNKNOWN
    extra = np.setdiff1d(scan.usable, distinct(scan, places))
    if len(extra):
        n, n_all = len(extra), len(scan.usable)
        where = "split and class" if parts.rule else "class"
        yield Finding(
            "copies",
            Severity.WARNING if not parts.rule and n / n_all >= MANY else Severity.NOTE,
            f"Files that duplicate another file of the same {where}: {n}.",
            (f"{n} of {n_all} usable files ({share(n / n_all)}), by SHA-256.",),
            "Delete them: they count several times. 'headbench features' keeps duplicates in one "
            "split. A script that splits by file does not, so its accuracy looks too high.",
            photos=tuple(
                scan.photo(row, scan.class_of(row)) for row in extra[:MOST_PHOTOS].tolist()
            ),
        )


def _near_in_one_class(scan: Scan, parts: Partition, kinds: Kinds) -> Iterator[Finding]:
    """Near-duplicates in a folder without splits, which a split by file may separate."""
    pairs = kinds.near_pairs(scan.labels, is_same_class=True)
    n, n_all = len(np.unique(pairs)), len(kinds.first)
    if parts.rule or not n:
        return
    yield Finding(
        "near-copies",
        Severity.WARNING if n / n_all >= MANY else Severity.NOTE,
        f"Images with a near-duplicate in their class: {n}.",
        (
            f"{n} of {n_all} different images ({share(n / n_all)}), in "
            f"{count(len(pairs), 'pair')}.",
            "If a split separates such a pair, the accuracy looks higher than it is.",
            HOW_NEAR,
        ),
        "If they come from augmentation: delete them, split, then augment train only. If they come "
        "from one scene, video or person: make folders train/, val/ and test/ and keep each scene "
        "in one of them. Drawings that differ little are not duplicates.",
        photos=tuple(_photos(scan, pairs[:MOST_PAIRS], None)),
    )


def _unsearched(kinds: Kinds) -> Iterator[Finding]:
    if not kinds.alike.is_complete:
        yield not_checked(
            "all near-duplicates",
            f"Too many of the {len(kinds.first)} images look alike: the search stopped early and "
            "missed some pairs.",
        )
    n_flat = int(kinds.alike.is_flat.sum())
    if n_flat:
        yield not_checked(
            "near-duplicates of images with hardly any contrast",
            f"{n_flat} of {len(kinds.first)} images are nearly uniform and cannot be compared.",
        )


def _photos(
    scan: Scan, pairs: Iterable[tuple[int, int]], parts: Partition | None
) -> Iterator[Photo]:
    for number, pair in enumerate(pairs, start=1):
        for row in pair:
            split = f"{SPLITS[parts.splits[row]]}, " if parts else ""
            yield scan.photo(row, f"pair {number}: {split}{scan.class_of(row)}")
