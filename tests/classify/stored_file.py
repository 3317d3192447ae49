"""A feature file of synthetic embeddings, sorted by class as those of folders are."""

import hashlib
from pathlib import Path

import numpy as np

from headbench.cache.format import Config, Table, hash_rows
from headbench.cache.writer import Parts, write_features
from tests.benchmarks.food101_like import World
from tests.cache.tables import IDENTITY


def write_stored_file(
    path: Path, n_images: int, dim: int = 16, n_classes: int = 4, is_weighted: bool = False
) -> Path:
    """Images of train, val and test mixed at random; a class has more images than the next."""
    rng = np.random.default_rng(0)
    X, y = World(n_classes, dim).draw(n_images, seed=1)
    is_kept = rng.random(n_images) < 1 / (1 + y)
    order = np.argsort(y[is_kept], kind="stable")
    X, y = X[is_kept][order], y[is_kept][order]
    contents = [hashlib.sha256(b"%d" % row).digest() for row in range(len(y))]
    table = Table(
        paths=tuple(f"{label}/{row}.jpg" for row, label in enumerate(y)),
        labels=y,
        splits=rng.choice(3, len(y), p=[0.6, 0.25, 0.15]).astype(np.uint8),
        content_sha256=hash_rows(contents),
        classes=tuple(f"class {label}" for label in range(n_classes)),
        rejected=(),
        config=Config(IDENTITY, "none", {"folder": "photos", "seed": 0}),
        weights=rng.uniform(0.1, 10, len(y)).astype(np.float32) if is_weighted else None,
    )
    parts = Parts(path, IDENTITY.fingerprint)
    write_features(path, table, parts.add(contents, X), dim)
    parts.remove()
    return path
