"""What the frozen part of the network makes of each image: computed once, kept on disk."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache.activations import ActivationStore
from cache.disk import require_free
from cache.fingerprint import Identity
from classify.errors import RunError
from classify.finetuning.split_network import SplitNetwork
from classify.labelled_files import refuse_image
from classify.wording import n_bytes
from extract.devices import Devices
from extract.embedder import Embedded, EngineEmbedder
from extract.engines import Engine, engine_on, halving_engine
from extract.progress import Progress
from extract.read import ImageFile
from extract.stopwatch import Stopwatch
from extract.stream import decoded_images, in_batches

FOLDER = "trunk"
ITEM_BYTES = np.dtype(np.float16).itemsize
# Rows are written some at a time: bounds memory and what a killed run loses.
PART_BYTES = 64 << 20


def activation_fingerprint(identity: Identity, cut_name: str) -> str:
    """What decides the activations after a layer: all that decides embeddings, but the pooling."""
    facts = {**asdict(identity), "pooling": None, "after": cut_name, "kept": "float16"}
    canonical = json.dumps(facts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def cached_activations(
    folder: Path,
    network: SplitNetwork,
    files: Sequence[ImageFile],
    devices: Devices,
    say: Callable[[str], None],
) -> ActivationStore:
    """Activations of images at the cut; those that are not on disk yet are computed.

    Parameters
    ----------
    folder : Path
        Of the run.
    network : SplitNetwork
    files : sequence of ImageFile
        With the SHA-256 of each.
    devices : Devices
        Where the network runs.
    say : callable
        Told how large it is, before it is made.

    Raises
    ------
    RunError
        If an image cannot be used any more, or float16 cannot hold an activation.
    StorageError
        If the disk has no room; what was finished is kept.
    """
    fingerprint = activation_fingerprint(network.backbone.identity, network.cut_name)
    store = ActivationStore(folder / FOLDER, fingerprint)
    store.open(say)
    missing = store.missing([content_of(file) for file in files])
    if missing:
        frozen = network.frozen_part()
        row_bytes = ITEM_BYTES * int(np.prod(frozen.output_shape[1:]))
        size = " x ".join(map(str, frozen.output_shape[1:]))
        say(
            f"frozen part, to {network.cut_name}: {len(missing)} of {len(files)} images to "
            f"compute, {size} in float16, {n_bytes(len(missing) * row_bytes)} in {store.folder}"
        )
        require_free(folder, len(missing) * row_bytes)
        engine = halving_engine(engine_on(devices, lambda: frozen), say)
        _fill(store, engine, frozen.input_shape[1], [files[row] for row in missing], row_bytes)
    return store


def _fill(
    store: ActivationStore, engine: Engine, size_px: int, files: list[ImageFile], row_bytes: int
) -> None:
    embedder = EngineEmbedder(engine, engine.batch_size, Stopwatch())
    images = decoded_images(files, size_px, refuse_image(files), Stopwatch())
    part_rows = max(1, PART_BYTES // row_bytes)
    with Progress("frozen part", len(files)) as progress:
        batches = embedder(in_batches(images, engine.batch_size))
        for rows, activations in _in_parts(batches, part_rows, progress.update):
            if not np.isfinite(activations).all():
                raise RunError(
                    f"{store.folder}: float16 cannot hold what the frozen part makes of "
                    f"{files[rows[0]].path} or images after it. Run it in every epoch: "
                    "--no-trunk-cache (make: TRUNK_CACHE=off)."
                )
            store.add([content_of(files[row]) for row in rows], activations)


def _in_parts(
    batches: Iterator[Embedded], part_rows: int, on_done: Callable[[int], None]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float16]]]:
    waiting: list[tuple[NDArray[np.int64], NDArray[np.float16]]] = []

    def part() -> tuple[NDArray[np.int64], NDArray[np.float16]]:
        rows, activations = zip(*waiting, strict=True)
        waiting.clear()
        return np.concatenate(rows), np.concatenate(activations)

    for rows, activations in batches:
        # What float16 cannot hold becomes infinite, and is found so above.
        with np.errstate(over="ignore"):
            waiting.append((rows, activations.astype(np.float16)))
        on_done(len(rows))
        if sum(len(each) for each, _ in waiting) >= part_rows:
            yield part()
    if waiting:
        yield part()


def content_of(file: ImageFile) -> bytes:
    """SHA-256 of an image of a feature file, which knows that of each."""
    if file.content_sha256 is None:
        raise ValueError(f"{file.path}: its SHA-256 is not known")
    return file.content_sha256
