"""Activations of the frozen part of the network: computed once for each image, kept on disk."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from headbench.cache.blocks import CheckedDataset, create_hdf5, open_hdf5, write_array
from headbench.cache.disk import OpenFiles, require_free, temporary_path
from headbench.cache.errors import FeatureFileError, UnreadableError
from headbench.cache.format import Identity, hash_rows, row_hashes
from headbench.cache.progress import Progress
from headbench.classify.errors import RunError
from headbench.classify.finetuning.augmentation import AUGMENTATION, augmented_files
from headbench.classify.finetuning.split_network import SplitNetwork
from headbench.classify.labelled_files import refuse_image
from headbench.classify.wording import n_bytes
from headbench.extract.images.resizing import Resizing, resizing_of
from headbench.extract.images.stream import (
    DecodedImage,
    ImageFile,
    decoded_images,
    in_batches,
)
from headbench.extract.networks.devices import Devices
from headbench.extract.networks.engines import (
    Embedded,
    Engine,
    EngineEmbedder,
    engine_on,
    halving_engine,
)
from headbench.extract.stopwatch import Stopwatch

LOG = logging.getLogger(__name__)

FOLDER = "trunk"
ITEM_BYTES = np.dtype(np.float16).itemsize
# Rows are written some at a time: bounds memory and what a killed run loses.
PART_BYTES = 64 << 20
# Of the copies, whatever the seed of training: another seed finds them again.
COPIES_SEED = 0


class ActivationStore:
    """Activations of images in float16, found by content, in files of several rows each.

    A row is as large as many embeddings and is read alone, in any order. So each row is a block of
    its own, and files are not merged. A file is written whole or not at all. The folder is named
    after the fingerprint, so activations of another network are never used. Each row is checked
    against its checksum when it is read.

    Parameters
    ----------
    fingerprint : str
        Hash of everything besides the image that decides the activations.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder / fingerprint[:16]
        self._places: dict[bytes, tuple[Path, int]] = {}
        self._files = OpenFiles[CheckedDataset]()
        self._lock = Lock()

    def open(self) -> None:
        """Find the files; a damaged one is logged and deleted.

        Raises
        ------
        UnreadableError
            If a file cannot be read now. It is kept, because its content may be fine.
        """
        with self._lock:
            self._files.close()  # another process may have replaced them
        for path in sorted(self.folder.glob("*.h5")):
            try:
                self._look_at(path)
            except UnreadableError:
                raise
            except FeatureFileError:
                LOG.info(f"{path}: damaged: its activations are computed again")
                path.unlink()

    def missing(self, contents: Sequence[bytes]) -> list[int]:
        """Positions of the images, given by SHA-256, that are not stored; of copies only one."""
        rows: dict[bytes, int] = {}
        for row, content in enumerate(contents):
            if content not in self._places:
                rows.setdefault(content, row)
        return list(rows.values())

    def add(self, contents: Sequence[bytes], activations: NDArray[np.float16]) -> None:
        """Write rows, float16 (n_rows, ...), of images given by SHA-256; or `StorageError`."""
        path = self.folder / f"{contents[0].hex()[:16]}.h5"
        temporary_path(path).unlink(missing_ok=True)
        with create_hdf5(path) as file:
            write_array(file, "activations", activations, block_rows=1)
            write_array(file, "content_sha256", hash_rows(list(contents)))
        self._look_at(path)

    def read(self, contents: Sequence[bytes]) -> NDArray[np.float16]:
        """Rows of some images, float16 (n_rows, ...), in that order.

        Raises
        ------
        FeatureFileError
            If a row is damaged. The message names the file: delete it and run the command again.
        """
        places = (self._places[content] for content in contents)
        with self._lock:
            rows = [self._files.get(path, _activations).read_block(row) for path, row in places]
        return np.concatenate(rows)

    def _look_at(self, path: Path) -> None:
        with open_hdf5(path) as file:
            n_rows = len(CheckedDataset(file, "activations"))
            contents = row_hashes(CheckedDataset(file, "content_sha256").read())
        if n_rows != len(contents):
            raise FeatureFileError(f"{path}: damaged: its datasets differ in length. Delete it.")
        self._places |= {content: (path, row) for row, content in enumerate(contents)}


def activation_fingerprint(identity: Identity, cut_name: str) -> str:
    """Hash of all that decides the activations after a layer, whatever follows it."""
    facts = {
        **replace(identity, layer="").items,
        "pooling": None,
        "after": cut_name,
        "kept": "float16",
    }
    canonical = json.dumps(facts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


class Wanted(NamedTuple):
    """A picture whose activations are wanted: an image, or a copy of it changed at random.

    Attributes
    ----------
    copy : int
        Number of the copy, from 1 on; 0 for the image itself.
    """

    file: ImageFile
    copy: int = 0

    @property
    def key(self) -> bytes:
        """What finds it in the store, 32 bytes."""
        content = content_of(self.file)
        if not self.copy:
            return content
        return hashlib.sha256(content + f"{AUGMENTATION}, copy {self.copy}".encode()).digest()


def cached_activations(
    folder: Path, network: SplitNetwork, wanted: Sequence[Wanted], devices: Devices
) -> ActivationStore:
    """Activations of pictures at the cut; those that are not on disk are computed.

    They are kept in `folder`, which is that of the run. Files must have their SHA-256.

    Raises
    ------
    RunError
        If an image cannot be used any more, or an activation does not fit float16.
    StorageError
        If the disk is full; finished files are kept.
    """
    fingerprint = activation_fingerprint(network.backbone.identity, network.cut_name)
    store = ActivationStore(folder / FOLDER, fingerprint)
    store.open()
    wanted = sorted(wanted, key=lambda each: each.copy)
    missing = [wanted[row] for row in store.missing([each.key for each in wanted])]
    if missing:
        frozen = network.frozen_part()
        row_bytes = ITEM_BYTES * int(np.prod(frozen.output_shape[1:]))
        LOG.info(
            f"frozen layers, up to {network.cut_name}: computed once for "
            f"{_describe(missing, wanted)}, {n_bytes(len(missing) * row_bytes)} in {store.folder}"
        )
        require_free(folder, len(missing) * row_bytes, "the activations")
        engine = halving_engine(engine_on(devices, lambda: frozen))
        _fill(store, engine, resizing_of(network.backbone.identity), missing, row_bytes)
    return store


def _describe(missing: Sequence[Wanted], wanted: Sequence[Wanted]) -> str:
    new, n_copies = (sum(each.copy > 0 for each in pictures) for pictures in (missing, wanted))
    augmented = f" and {new} of {n_copies} augmented copies" if n_copies else ""
    return f"{len(missing) - new} of {len(wanted) - n_copies} images{augmented}"


def _fill(
    store: ActivationStore,
    engine: Engine,
    resizing: Resizing,
    missing: list[Wanted],
    row_bytes: int,
) -> None:
    embedder = EngineEmbedder(engine, engine.batch_size, Stopwatch())
    part_rows = max(1, PART_BYTES // row_bytes)
    with Progress("frozen layers", len(missing)) as progress:
        batches = embedder(in_batches(_pictures(missing, resizing), engine.batch_size))
        for rows, activations in _in_parts(batches, part_rows, progress.update):
            if not np.isfinite(activations).all():
                raise RunError(
                    f"{store.folder}: the activations of {missing[rows[0]].file.path}, or of "
                    "images after it, are too large for float16. Run the frozen layers in every "
                    "epoch: --no-trunk-cache."
                )
            store.add([missing[row].key for row in rows], activations)


def _pictures(missing: list[Wanted], resizing: Resizing) -> Iterator[DecodedImage]:
    """The pictures of a list that is sorted by copy; the row of each is that in the list."""
    first = 0
    for copy, group in groupby(missing, key=lambda each: each.copy):
        files = [each.file for each in group]
        if copy:
            # By content: a copy stays the same whatever else is in the run.
            numbers = [int.from_bytes(content_of(file)[:7]) for file in files]
            rows = {number: first + row for row, number in enumerate(numbers)}
            dataset = augmented_files(files, numbers, resizing, (COPIES_SEED, copy))
            for number, pixels in dataset.as_numpy_iterator():
                yield DecodedImage(rows[int(number)], pixels)
        else:
            for each in decoded_images(files, resizing, refuse_image(files), Stopwatch()):
                yield each._replace(row=first + each.row)
        first += len(files)


def _in_parts(
    batches: Iterator[Embedded], part_rows: int, on_done: Callable[[int], None]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float16]]]:
    waiting: list[tuple[NDArray[np.int64], NDArray[np.float16]]] = []

    def part() -> tuple[NDArray[np.int64], NDArray[np.float16]]:
        rows, activations = zip(*waiting, strict=True)
        waiting.clear()
        return np.concatenate(rows), np.concatenate(activations)

    for rows, activations in batches:
        # What is too large for float16 becomes infinite, which the caller refuses.
        with np.errstate(over="ignore"):
            waiting.append((rows, activations.astype(np.float16)))
        on_done(len(rows))
        if sum(len(each) for each, _ in waiting) >= part_rows:
            yield part()
    if waiting:
        yield part()


def content_of(file: ImageFile) -> bytes:
    """SHA-256 of an image of a feature file."""
    if file.content_sha256 is None:
        raise ValueError(f"{file.path}: its SHA-256 is unknown")
    return file.content_sha256


def _activations(path: Path) -> tuple[h5py.File, CheckedDataset]:
    file = open_hdf5(path)
    return file, CheckedDataset(file, "activations")
