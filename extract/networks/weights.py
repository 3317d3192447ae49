"""Weights of a network: their file and its hash."""

import hashlib
import os
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py

from headbench.cache.blocks import open_hdf5
from headbench.cache.errors import FeatureFileError
from headbench.cache.format import RANDOM_WEIGHTS
from headbench.cache.writer import installed_version
from headbench.extract.errors import WeightsError
from headbench.extract.settings import IMAGENET

RANDOM_SEED = 0
WAY_OUT = "Give a weights file: --weights PATH."
FETCH_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Weights:
    """A weights file, or None for random weights, and its hash.

    The hash is ``sha256:`` and the digest of the file; or ``random:``, the seed and the versions
    that reproduce random weights.
    """

    path: Path | None
    hash: str


def resolve_weights(source: str, imagenet_file: str, fetch: Callable[[], object]) -> Weights:
    """Find the weights that the user named; download those of ImageNet if necessary.

    Raises `WeightsError` if the file is missing or cannot be downloaded.

    Parameters
    ----------
    source : str
        ``imagenet``, ``random`` or a path.
    imagenet_file : str
        File name of the ImageNet weights in Keras.
    """
    if source == RANDOM_WEIGHTS:
        # The same seed gives other numbers in another release, hence the versions.
        versions = ",".join(f"{name}={installed_version(name)}" for name in ("keras", "tensorflow"))
        return Weights(None, f"{RANDOM_WEIGHTS}:seed={RANDOM_SEED},{versions}")
    path = _imagenet_path(imagenet_file, fetch) if source == IMAGENET else Path(source)
    if not path.is_file():
        found = "a folder" if path.exists() else "nothing"
        raise WeightsError(
            f"weights {source}: expected 'imagenet', 'random' or a weights file, found {found}. "
            f"{WAY_OUT}"
        )
    with path.open("rb") as file:
        return Weights(path, f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}")


def check_shapes(path: Path, expected: Iterable[tuple[int, ...]], network: str) -> None:
    """Refuse a file whose arrays do not have exactly the shapes of the network.

    Keras would mostly refuse it too, but names layers instead of files, and loads some files of
    other networks in part. Raises `WeightsError`.
    """
    found = shapes_in(path)
    missing, extra = Counter(expected) - found, found - Counter(expected)
    if missing or extra:
        raise WeightsError(
            f"{path}: not weights of {network} without its top: of {sum(found.values())} arrays, "
            f"{extra.total()} do not fit and {missing.total()} are missing"
            f"{_example(missing, extra)}. {WAY_OUT}"
        )


def shapes_in(path: Path) -> Counter[tuple[int, ...]]:
    """How often each shape occurs among the arrays of a file; `WeightsError` if it is not HDF5."""
    shapes: list[tuple[int, ...]] = []

    def note(_: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            shapes.append(item.shape)

    try:
        with open_hdf5(path, f"Expected weights as Keras saves them. {WAY_OUT}") as file:
            file.visititems(note)
    except FeatureFileError as error:
        raise WeightsError(str(error)) from error
    return Counter(shapes)


def _imagenet_path(imagenet_file: str, fetch: Callable[[], object]) -> Path:
    path = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models" / imagenet_file
    if not path.is_file():
        try:
            with impatient_network():
                fetch()
        except Exception as error:
            # Keras raises a bare Exception for any network error.
            raise WeightsError(_how_to_bring(path, str(error))) from error
    return path


def _how_to_bring(path: Path, failure: str) -> str:
    """Where to download what, from what Keras says: "URL fetch failure on URL: CODE -- REASON"."""
    address = re.search(r"https?://\S+[^\s:]", failure)
    what = address[0] if address else path.name
    return (
        f"ImageNet weights cannot be downloaded ({failure.rpartition(' -- ')[2]}). Download {what} "
        f"on another machine and copy it to {path.parent}, or give its path: --weights PATH."
    )


@contextmanager
def impatient_network() -> Iterator[None]:
    """Give up on a network that does not answer: Keras itself sets no time limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(FETCH_TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _example(missing: Counter[tuple[int, ...]], extra: Counter[tuple[int, ...]]) -> str:
    phrases = [
        f"{verb} {next(iter(shapes))}"
        for verb, shapes in (("expected one of", missing), ("found one of", extra))
        if shapes
    ]
    return f" ({', '.join(phrases)})"
