"""Copies of images, exact and near, in two splits or under two labels."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cache.format import SPLITS
from classify.doctor.data.kinds import NO_ROW, Kinds, sort_by_kind
from classify.doctor.data.labels import distinct
from classify.doctor.data.scan import MOST_PHOTOS, Scan
from classify.doctor.data.splits import TEST, UNKNOWN, VAL, Partition
from classify.doctor.finding import Finding, Photo, Severity, not_checked
from classify.intervals import wilson
from classify.wording import count, share

MANY = 0.05
MOST_PAIRS = MOST_PHOTOS // 2
HOW_NEAR = (
    "Told by a perceptual hash and by grey thumbnails, mirrored ones too: look at them before you "
    "delete any."
)


def examine_copies(scan: Scan, parts: Partition) -> Iterator[Finding]:
    """Exact and near copies across splits, near copies under two labels, copies side by side."""
    kinds = sort_by_kind(scan, parts)
    yield from _across(scan, parts, kinds, is_exact=True)
    yield from _across(scan, parts, kinds, is_exact=False)
    yield from _two_labels(scan, kinds)
    yield from _side_by_side(scan, parts)
    yield from _near_side_by_side(scan, parts, kinds)
    yield from _unsearched(kinds)


def outweighs_chance(n_copies: int, n: int) -> bool:
    """Whether copies can move an accuracy further than chance does.

    So many right answers for nothing, against half of the 95 % interval of an accuracy of 0.5,
    where it is widest.
    """
    middle = wilson(n // 2, n)
    return n_copies / n > (middle.high - middle.low) / 2


class _Leak(NamedTuple):
    """Images of a split that are in an earlier one too."""

    split: int
    n_images: int
    copies: NDArray[np.intp]
    originals: NDArray[np.intp]


def _across(scan: Scan, parts: Partition, kinds: Kinds, is_exact: bool) -> Iterator[Finding]:
    leaks = [_leak(scan, parts, kinds, split, is_exact) for split in (VAL, TEST)]
    leaks = [leak for leak in leaks if len(leak.copies)]
    if not leaks:
        return
    pairs = [
        pair
        for leak in leaks
        for pair in zip(leak.copies.tolist(), leak.originals.tolist(), strict=True)
    ]
    # Near copies are never severe: drawings may differ as little without being copies.
    worst = [
        leak for leak in leaks if is_exact and outweighs_chance(len(leak.copies), leak.n_images)
    ]
    yield Finding(
        "copies-across-splits" if is_exact else "near-copies-across-splits",
        Severity.SEVERE if worst else Severity.WARNING,
        f"{'Copies' if is_exact else 'Near copies'} of one image lie in several splits.",
        (
            *(_describe(leak, is_exact) for leak in leaks),
            *(
                f"That is more than chance moves the accuracy of {leak.n_images} images by."
                for leak in worst
            ),
            f"Splits: {parts.rule}.",
            "What was learnt is asked again there: the accuracy is flattered.",
            *([] if is_exact else [HOW_NEAR]),
        ),
        "Keep all copies of an image in one split, best in train; delete them from val and test. "
        + (
            "In class folders 'make features' splits by content: exact copies stay together."
            if is_exact
            else "Split first and augment then; split by scene, video or person, not by file."
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
    return (
        f"{n} of {n_all} images of {SPLITS[leak.split]} ({share(n / n_all)}) are in "
        f"{' or '.join(SPLITS[: leak.split])} too, "
        + ("with the same bytes (SHA-256)." if is_exact else "or nearly the same ones.")
    )


def _two_labels(scan: Scan, kinds: Kinds) -> Iterator[Finding]:
    first, second = (kinds.first[each] for each in (kinds.alike.first, kinds.alike.second))
    # A mirrored picture may mean something else: b and d.
    differs = (scan.labels[first] != scan.labels[second]) & ~kinds.alike.is_mirrored
    pairs = list(zip(first[differs].tolist(), second[differs].tolist(), strict=True))
    if pairs:
        n, n_all = len(np.unique(pairs)), len(kinds.first)
        yield Finding(
            "near-copies-two-labels",
            Severity.WARNING,
            f"Nearly the same image under labels that differ: {count(len(pairs), 'pair')}.",
            (
                f"{n} of {n_all} different images ({share(n / n_all)}) are in such a pair.",
                HOW_NEAR,
            ),
            "Of each pair one label is wrong, or the picture shows both: correct or delete it.",
            photos=tuple(_photos(scan, pairs[:MOST_PAIRS], None)),
        )


def _side_by_side(scan: Scan, parts: Partition) -> Iterator[Finding]:
    places = scan.labels * (len(SPLITS) + 1) + parts.splits - UNKNOWN
    rows = distinct(scan, places)
    extra = np.setdiff1d(scan.usable, rows)
    if len(extra):
        n, n_all = len(extra), len(scan.usable)
        where = "split and class" if parts.rule else "class"
        yield Finding(
            "copies",
            Severity.WARNING if not parts.rule and n / n_all >= MANY else Severity.NOTE,
            f"Files that are copies of another one of the same {where}: {n}.",
            (f"{n} of {n_all} usable files ({share(n / n_all)}), by SHA-256.",),
            "They count several times: delete them. 'make features' keeps copies in one split; a "
            "split that a script draws by file does not, and flatters its accuracy.",
            photos=tuple(
                scan.photo(row, scan.class_of(row)) for row in extra[:MOST_PHOTOS].tolist()
            ),
        )


def _near_side_by_side(scan: Scan, parts: Partition, kinds: Kinds) -> Iterator[Finding]:
    """Near copies where nobody says yet who is train: any split by file may part them."""
    first, second = (kinds.first[each] for each in (kinds.alike.first, kinds.alike.second))
    same = scan.labels[first] == scan.labels[second]
    n, n_all = len(np.union1d(first[same], second[same])), len(kinds.first)
    if parts.rule or not n:
        return
    pairs = zip(first[same].tolist(), second[same].tolist(), strict=True)
    yield Finding(
        "near-copies",
        Severity.WARNING if n / n_all >= MANY else Severity.NOTE,
        f"Images that are nearly the same as another one of their class: {n}.",
        (
            f"{n} of {n_all} different images ({share(n / n_all)}), in "
            f"{count(int(same.sum()), 'pair')}.",
            "Where a split parts such a pair, its accuracy is flattered.",
            HOW_NEAR,
        ),
        "If they were made by augmentation, delete them, split, and augment train alone. If they "
        "come from one scene, video or person, put them into train/, val/ and test/ so that no "
        "scene is in two. Drawings that differ little are no copies.",
        photos=tuple(_photos(scan, list(pairs)[:MOST_PAIRS], None)),
    )


def _unsearched(kinds: Kinds) -> Iterator[Finding]:
    if not kinds.alike.is_complete:
        yield not_checked(
            "all near copies",
            f"Too many of the {len(kinds.first)} images look alike: the search was given up, and "
            "there are more pairs than were found.",
        )
    n_flat = int(kinds.alike.is_flat.sum())
    if n_flat:
        yield not_checked(
            "near copies of images of hardly any contrast",
            f"{n_flat} of {len(kinds.first)} images are all but one grey: nothing in them could "
            "be compared.",
        )


def _photos(
    scan: Scan, pairs: Iterable[tuple[int, int]], parts: Partition | None
) -> Iterator[Photo]:
    for number, pair in enumerate(pairs, start=1):
        for row in pair:
            split = f"{SPLITS[parts.splits[row]]}, " if parts else ""
            yield scan.photo(row, f"pair {number}: {split}{scan.class_of(row)}")
