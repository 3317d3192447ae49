"""Whether the image files are still those that were extracted."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cache.reader import FeatureFile
from classify.doctor.finding import Finding, Photo, Severity, not_checked
from classify.intervals import wilson
from classify.wording import count, percent, some
from extract.hashes import Hashes
from extract.sources.folder import Folder

# Read, where they may have changed since they were extracted; spread over the file if it has more.
MOST_READ = 2000


class FileCheck(NamedTuple):
    """What became of the files that were looked at.

    Attributes
    ----------
    root : Path
        The folder of images.
    n_looked_at : int
    changed, gone : list of str
        Paths below `root`: of files with other bytes, and of those that cannot be read.
    """

    root: Path
    n_looked_at: int
    changed: list[str]
    gone: list[str]

    @property
    def is_another_folder(self) -> bool:
        """Whether no file at all was there."""
        return len(self.gone) == self.n_looked_at


def check_files(features: FeatureFile, root: Path) -> FileCheck:
    """Compare files with the hashes that they were extracted with.

    Parameters
    ----------
    features : FeatureFile
    root : Path
        The folder of images.
    """
    table = features.table
    rows = spread(features.n_images, MOST_READ).tolist()
    paths = [table.paths[row] for row in rows]
    hashes = Hashes(Folder(root), paths, features.path.with_name(f"{features.path.name}.hashes"))
    hashes.read()
    expected = table.contents()
    changed, gone = [], []
    for path, row, content in zip(paths, rows, hashes.found, strict=True):
        if not isinstance(content, bytes):
            gone.append(path)
        elif content != expected[row]:
            changed.append(path)
    return FileCheck(root, len(paths), changed, gone)


def examine_files(check: FileCheck) -> Iterator[Finding]:
    """Files that changed or are gone."""
    if check.is_another_folder:
        yield not_checked(
            "the images behind the embeddings",
            f"None of {check.n_looked_at} files looked for is in {check.root}, such as "
            f"{check.gone[0]}.",
            "Name the folder that the embeddings were made from: doctor runs/NAME FOLDER.",
        )
    elif check.changed or check.gone:
        yield _changed(*check)


def spread(n: int, most: int) -> NDArray[np.intp]:
    """Up to `most` of `n` rows, evenly spread, ascending."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.intp))


def _changed(root: Path, n_looked_at: int, changed: list[str], gone: list[str]) -> Finding:
    share = wilson(len(changed) + len(gone), n_looked_at)
    evidence = [f"{percent(share)} of {n_looked_at} files: compared by the SHA-256 of their bytes."]
    if changed:
        evidence.append(f"{len(changed)} changed: {some(changed)}.")
    if gone:
        evidence.append(f"{len(gone)} gone or not to be read: {some(gone)}.")
    return Finding(
        "files-changed",
        Severity.WARNING,
        f"{count(len(changed) + len(gone), 'image file')} changed or went since the embeddings "
        "were made.",
        tuple(evidence),
        "'make features' extracts just what changed; then 'make heads'.",
        photos=tuple(Photo(root / path, "changed since") for path in changed),
    )
