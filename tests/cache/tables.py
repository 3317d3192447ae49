"""Small tables for the tests of the cache."""

import hashlib

import numpy as np

from cache.fingerprint import Identity
from cache.format import Config, Rejected, Table

IDENTITY = Identity("mean-color", "none", "none", 16, "crop", "avg", "float32")
CLASSES = ("crème brûlée", "寿司", "pie with spaces")


def content(number: int) -> bytes:
    """SHA-256 of some image."""
    return hashlib.sha256(b"%d" % number).digest()


def make_table(n_images: int = 7, rejected: tuple[Rejected, ...] = ()) -> Table:
    """A table whose labels and splits go round."""
    numbers = np.arange(n_images)
    hashes = b"".join(content(int(number)) for number in numbers)
    return Table(
        paths=tuple(f"{CLASSES[n % 3]}/{n}.jpg" for n in numbers),
        labels=(numbers % 3).astype(np.int32),
        splits=(numbers // 2 % 3).astype(np.uint8),
        content_sha256=np.frombuffer(hashes, dtype=np.uint8).reshape(-1, 32),
        classes=CLASSES,
        rejected=rejected,
        config=Config(IDENTITY, "none", {"folder": "photos", "seed": 0}),
    )
