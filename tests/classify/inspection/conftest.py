"""Feature files of given embeddings."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headbench.cache.format import Config, Identity, Table, hash_rows
from headbench.cache.writer import Parts, write_features

N_CLASSES = 5
Writer = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    """A feature file of given embeddings; images are different files unless numbers are equal."""

    def write_rows(
        X: np.ndarray,
        splits: Any = None,
        labels: Any = None,
        numbers: Any = None,
        store: str = "float32",
    ) -> Path:
        n_images, path = len(X), tmp_path / "features.h5"
        identity = Identity("synthetic", "none", "none", 16, "none", "avg", "float32")
        numbers = range(n_images) if numbers is None else numbers
        contents = [hashlib.sha256(b"%d" % number).digest() for number in numbers]
        table = Table(
            paths=tuple(f"{row}.jpg" for row in range(n_images)),
            labels=np.zeros(n_images, np.int32) if labels is None else np.int32(labels),
            splits=(np.arange(n_images) % 3).astype(np.uint8)
            if splits is None
            else np.uint8(splits),
            content_sha256=hash_rows(contents),
            classes=tuple(map(str, range(N_CLASSES))),
            rejected=(),
            config=Config(identity, "none", {"folder": "synthetic", "seed": 0}, store),
        )
        parts = Parts(path, identity.fingerprint)
        source = parts.add(contents, X.astype(np.float32))
        write_features(path, table, source, X.shape[1])
        parts.remove()
        return path

    return write_rows
