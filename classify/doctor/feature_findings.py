"""Findings about a feature file: damage, random weights, images that changed since extraction."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from headbench.cache.reader import FeatureFile
from headbench.cache.verify import Inspection, inspect_file
from headbench.classify.doctor.finding import Examination, Finding, Photo, Severity, not_checked
from headbench.classify.intervals import wilson
from headbench.classify.wording import count, percent, some
from headbench.extract.hashes import Hashes
from headbench.extract.sources.folder import Folder

LOG = logging.getLogger(__name__)

# The image files whose bytes are compared, spread evenly over a larger run.
MOST_READ = 2000
MOST_NAMED = 5


def examine_features(features: FeatureFile, data: Path | None) -> Examination:
    """Examine a feature file, and the folder of images that it was made from, if it is there."""
    LOG.info(f"{features.path}: reading and checking all blocks")
    findings = [
        *check_damage(inspect_file(features.path)),
        *check_weights(features),
        *(check_images(compare_images(features, data)) if data else ()),
    ]
    identity = features.identity
    line = (
        f"{features.path}: {features.n_images} images, {features.dim} columns by "
        f"{identity.network} at {identity.size_px} px."
    )
    return Examination(line, findings)


def check_damage(inspection: Inspection) -> Iterator[Finding]:
    """Blocks that differ from their checksums, and values that are not finite."""
    damage, n_images = inspection.damage, len(inspection.is_whole)
    if not damage:
        return
    n_more = len(damage) - MOST_NAMED
    yield Finding(
        "file-damaged",
        Severity.SEVERE,
        f"{inspection.path} is damaged: {int((~inspection.is_whole).sum())} of "
        f"{count(n_images, 'image')} cannot be used.",
        (
            f"{count(inspection.n_blocks, 'block')} of data were compared with their checksums, "
            "and all values were checked.",
            *map(str, damage[:MOST_NAMED]),
            *([f"And {n_more} more: 'headbench verify' lists all."] if n_more > 0 else []),
        ),
        "Run 'headbench verify --repair' to drop the damaged images, 'headbench features DATA' to "
        "extract them again, then 'headbench heads'. If the damage comes back, check the disk.",
    )


def check_weights(features: FeatureFile) -> Iterator[Finding]:
    """Random weights."""
    if features.identity.has_random_weights:
        yield Finding(
            "random-weights",
            Severity.WARNING,
            f"These embeddings come from a {features.identity.backbone} with random weights, "
            "which was never trained on images.",
            (f"{features.path}: weights {features.identity.weights_hash}.",),
            "Extract with trained weights: 'headbench features DATA --weights imagenet "
            "--overwrite', or give the path of a weights file.",
        )


class Comparison(NamedTuple):
    """Image files below `root` that changed since extraction, and those that cannot be read."""

    root: Path
    n_compared: int
    changed: list[str]
    gone: list[str]


def compare_images(features: FeatureFile, root: Path) -> Comparison:
    """Compare image files with the SHA-256 hashes that they had at extraction."""
    LOG.info(f"{root}: comparing image files with the feature file")
    table = features.table
    n = features.n_images
    rows = np.unique(np.linspace(0, n - 1, min(n, MOST_READ)).round().astype(np.intp)).tolist()
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
    return Comparison(root, len(paths), changed, gone)


def check_images(found: Comparison) -> Iterator[Finding]:
    """Images that changed or disappeared since extraction."""
    root, n_compared, changed, gone = found
    if len(gone) == n_compared:
        yield not_checked(
            "the images behind the embeddings",
            f"{root} holds none of the {n_compared} image files that were compared, such as "
            f"{gone[0]}.",
            "Name the folder that the embeddings were made from: 'headbench doctor RUN FOLDER'.",
        )
    elif changed or gone:
        n = len(changed) + len(gone)
        share = percent(wilson(n, n_compared))
        yield Finding(
            "files-changed",
            Severity.WARNING,
            f"{count(n, 'image file')} changed or disappeared since the embeddings were made.",
            (
                f"{share} of {n_compared} files, compared by SHA-256.",
                *([f"{len(changed)} changed: {some(changed)}."] if changed else []),
                *([f"{len(gone)} missing or unreadable: {some(gone)}."] if gone else []),
            ),
            "Run 'headbench features DATA', which extracts only what changed, then 'headbench "
            "heads'.",
            photos=tuple(Photo(root / path, "changed since extraction") for path in changed),
        )
