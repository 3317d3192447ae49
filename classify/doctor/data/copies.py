"""Copies of images, exact and near, in two splits or under two labels."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from cache.format import SPLITS
from classify.bootstrap import wilson
from classify.doctor.data.kinds import Kinds, sort_by_kind
from classify.doctor.data.labels import distinct
from classify.doctor.data.scan import MOST_PHOTOS, Scan
from classify.doctor.data.splits import TEST, UNKNOWN, VAL, Partition
from classify.doctor.finding import Finding, Photo, Severity, not_checked
from classify.wording import count

MANY_NEAR = 0.05
HOW_NEAR = (
    "Told by a perceptual hash and by grey thumbnails, mirrored ones too: look at them before you "
    "delete any."
)
FLATTERED = "What was learnt is asked again there, so that its accuracy is flattered."


def examine_copies(scan: Scan, parts: Partition) -> Iterator[Finding]:
    """Exact and near copies across splits, near copies under two labels, copies side by side."""
    kinds = sort_by_kind(scan, parts)
    yield from _across(scan, parts, kinds.in_split, kinds, is_exact=True)
    yield from _across(scan, parts, kinds.near_in_split, kinds, is_exact=False)
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


def _across(
    scan: Scan, parts: Partition, partners: NDArray[np.intp], kinds: Kinds, is_exact: bool
) -> Iterator[Finding]:
    evidence, photos, severity = [], [], Severity.WARNING
    for split in (VAL, TEST):
        rows = np.flatnonzero(scan.is_usable & (parts.splits == split))
        earlier = partners[kinds.of_image[rows], :split].max(axis=1, initial=-1)
        is_copy = earlier >= 0
        if not is_exact:
            is_copy &= kinds.in_split[kinds.of_image[rows], :split].max(axis=1, initial=-1) < 0
        n, n_copies = len(rows), int(is_copy.sum())
        if n_copies:
            before = " or ".join(SPLITS[:split])
            evidence.append(
                f"{n_copies} of {n} images of {SPLITS[split]} ({n_copies / n:.1%}) are in {before} "
                + ("too, with the same bytes (SHA-256)." if is_exact else "too, or nearly so.")
            )
            pairs = zip(rows[is_copy].tolist(), earlier[is_copy].tolist(), strict=True)
            photos += list(_photos(scan, pairs, parts))
            if is_exact and outweighs_chance(n_copies, n):
                severity = Severity.SEVERE
                evidence.append(f"That is more than chance moves the accuracy of {n} images by.")
    if evidence:
        kind = "copies" if is_exact else "near-copies"
        evidence += [f"Splits: {parts.rule}.", FLATTERED, *([] if is_exact else [HOW_NEAR])]
        yield Finding(
            f"{kind}-across-splits",
            severity,
            f"{'Copies' if is_exact else 'Near copies'} of one image lie in several splits.",
            tuple(evidence),
            "Keep all copies of an image in one split, best in train; in val and test delete them. "
            + (
                "In class folders 'make features' splits by content: exact copies stay together."
                if is_exact
                else "Split first and augment then; split by scene, video or person, not by file."
            ),
            photos=tuple(photos[:MOST_PHOTOS]),
        )


def _two_labels(scan: Scan, kinds: Kinds) -> Iterator[Finding]:
    first, second = (kinds.first[each] for each in (kinds.alike.first, kinds.alike.second))
    # A mirrored picture may mean something else: b and d.
    differs = (scan.labels[first] != scan.labels[second]) & ~kinds.alike.is_mirrored
    pairs = list(zip(first[differs].tolist(), second[differs].tolist(), strict=True))
    if pairs:
        n = len(np.unique(pairs))
        yield Finding(
            "near-copies-two-labels",
            Severity.WARNING,
            f"Nearly the same image under labels that differ: {count(len(pairs), 'pair')}.",
            (
                f"{n} of {len(kinds.first)} different images ({n / len(kinds.first):.1%}) are in "
                "such a pair.",
                HOW_NEAR,
            ),
            "Of each pair one label is wrong, or the picture shows both: correct or delete it.",
            photos=tuple(_photos(scan, pairs[:MOST_PHOTOS], None)),
        )


def _side_by_side(scan: Scan, parts: Partition) -> Iterator[Finding]:
    places = scan.labels * (len(SPLITS) + 1) + parts.splits - UNKNOWN
    rows = distinct(scan, places)
    extra = np.setdiff1d(scan.usable, rows)
    if len(extra):
        where = "split and class" if parts.rule else "class"
        yield Finding(
            "copies",
            Severity.NOTE,
            f"Files that are copies of another one of the same {where}: {len(extra)}.",
            (f"{len(extra)} of {len(scan.usable)} usable files, by SHA-256.",),
            "They count several times. Delete them, or leave them: 'make features' keeps copies in "
            "one split. A split that a script draws by file does not.",
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
        Severity.WARNING if n / n_all >= MANY_NEAR else Severity.NOTE,
        f"Images that are nearly the same as another one of their class: {n}.",
        (
            f"{n} of {n_all} different images ({n / n_all:.1%}), in "
            f"{count(int(same.sum()), 'pair')}.",
            "Where a split parts such a pair, its accuracy is flattered.",
            HOW_NEAR,
        ),
        "If they were made by augmentation, delete them, split, and augment train alone. If they "
        "come from one scene, video or person, put them into train/, val/ and test/ so that no "
        "scene is in two. Drawings that differ little are no copies.",
        photos=tuple(_photos(scan, list(pairs)[: MOST_PHOTOS // 2], None)),
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
