"""What the feature file is to hold: which images, their hashes, labels and splits."""

from pathlib import Path

import numpy as np

from cache.fingerprint import Identity
from cache.format import Config, Rejected, Table
from extract.dataset import Dataset
from extract.errors import UnusableImageError
from extract.progress import progress_bar
from extract.splits import assign_splits, describe_rule, missing_splits
from extract.stream import hash_files


def plan_table(
    dataset: Dataset, identity: Identity, weights: str, seed: int
) -> tuple[Table, dict[bytes, Path]]:
    """Hash and split the images of a folder; nothing is decoded yet.

    Parameters
    ----------
    dataset : Dataset
    identity : Identity
        Of the embeddings to be.
    weights : str
        As the user named them.
    seed : int
        Of the split.

    Returns
    -------
    table : Table
        The file to be, as long as no image fails to decode.
    files : dict of bytes to Path
        By the SHA-256 of its content, one file for each different image.
    """
    paths = [dataset.root / image.path for image in dataset.images]
    hashes = _hash(paths)
    readable = [row for row, found in enumerate(hashes) if isinstance(found, bytes)]
    contents = [found for found in hashes if isinstance(found, bytes)]
    images = [dataset.images[row] for row in readable]
    given = [image.given_split for image in images]
    label_of = {name: label for label, name in enumerate(dataset.classes)}
    unreadable = [
        Rejected(image.path, str(found))
        for image, found in zip(dataset.images, hashes, strict=True)
        if isinstance(found, UnusableImageError)
    ]
    table = Table(
        paths=tuple(image.path for image in images),
        labels=np.array([label_of[image.class_name] for image in images], dtype=np.int32),
        splits=assign_splits(given, contents, seed),
        content_sha256=np.frombuffer(b"".join(contents), dtype=np.uint8).reshape(-1, 32),
        classes=dataset.classes,
        rejected=tuple(sorted((*dataset.rejected, *unreadable))),
        config=Config(identity, weights, _provenance(dataset, given, seed)),
    )
    files: dict[bytes, Path] = {}
    for content, row in zip(contents, readable, strict=True):
        files.setdefault(content, paths[row])
    return table, files


def _hash(paths: list[Path]) -> list[bytes | UnusableImageError]:
    found = []
    with progress_bar("read", len(paths)) as progress:
        for digest in hash_files(paths):
            found.append(digest)
            progress.update()
    return found


def _provenance(dataset: Dataset, given: list[str | None], seed: int) -> dict[str, str | int]:
    return {
        "folder": str(dataset.root),
        "layout": dataset.layout,
        "split": describe_rule(missing_splits(given), seed),
        "seed": seed,
    }
