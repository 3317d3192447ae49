"""Files that are not used: damaged ones, and those that are no labelled images."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from cache.format import Rejected
from classify.doctor.data.scan import MOST_PHOTOS, Scan
from classify.doctor.finding import Finding, Severity
from classify.wording import count, share, some

# From these on too much is lost: of all images, and of one class.
SEVERE_SHARE, SEVERE_SHARE_OF_CLASS = 0.2, 0.5
MOST_REASONS = 5


def examine_files(scan: Scan, left_out: Sequence[Rejected]) -> Iterator[Finding]:
    """Corrupt images, and files that were left out."""
    yield from _corrupt(scan)
    yield from _left_out(left_out)


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
        evidence.append(f"Classes that lose half of their images or more: {some(worst)}.")
    yield Finding(
        "corrupt-files",
        Severity.SEVERE if worst or lost_share >= SEVERE_SHARE else Severity.WARNING,
        f"Image files that cannot be used: {len(rows)}.",
        tuple(evidence),
        "Fetch them again, or delete them. headbench leaves them out and lists them; a script of "
        "Keras stops at one, or makes a grey picture of it that it learns under this label.",
        photos=tuple(scan.photo(row, scan.reasons[row]) for row in rows[:MOST_PHOTOS].tolist()),
    )


def _left_out(left_out: Sequence[Rejected]) -> Iterator[Finding]:
    if left_out:
        yield Finding(
            "files-left-out",
            Severity.NOTE,
            f"Files of the folder that are no labelled images: {len(left_out)}.",
            tuple(_reasons([(each.path, each.reason) for each in left_out])),
            "If images are among them, move them into a folder of their class.",
        )


def _reasons(found: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Each reason with its files, the most frequent first."""
    n_of = Counter(reason for _, reason in found).most_common()
    for reason, n in n_of[:MOST_REASONS]:
        names = some([path for path, its in found if its == reason])
        yield f"{count(n, 'file')}, {reason}: {names}."
    if len(n_of) > MOST_REASONS:
        yield f"And {sum(n for _, n in n_of[MOST_REASONS:])} more for other reasons."
