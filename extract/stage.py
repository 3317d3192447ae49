"""Stage one: plan what is missing, run it, commit it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache.errors import FeatureFileError
from cache.fingerprint import Identity
from cache.format import Table, count_splits, describe_counts
from cache.reader import FeatureFile
from cache.writer import Location, Parts, write_features
from extract.backbones import Backbone, KerasBackbone, create_backbone
from extract.dataset import find_images
from extract.embedder import Embedded
from extract.errors import DataError
from extract.keras_runtime import describe_device
from extract.plan import plan_table
from extract.progress import progress_bar
from extract.splits import check_splits
from extract.stream import Batch, ImageFile, image_batches
from extract.weights import IMAGENET

# A killed run loses at most the part in flight.
PART_IMAGES = 512
PART_SECONDS = 30.0
MOST_SAID = 10


@dataclass(frozen=True)
class ExtractSettings:
    """What a user may choose; the command line takes its defaults from here.

    Attributes
    ----------
    backbone : str
    weights : str
        ``imagenet``, ``random`` or a path.
    size_px : int
        Height and width of the network's input.
    seed : int
        Of the split.
    batch_size : int
        Images pushed through the network at once; changes nothing but speed and memory.
    overwrite : bool
        Replace a feature file that was made with other settings.
    """

    backbone: str = "resnet50"
    weights: str = IMAGENET
    size_px: int = 224
    seed: int = 0
    batch_size: int = 32
    overwrite: bool = False


def extract_features(
    data: Path, out: Path, settings: ExtractSettings, say: Callable[[str], None]
) -> Table:
    """Make a feature file of a folder of images, or bring it up to date.

    Parameters
    ----------
    data : Path
        The folder; see :func:`extract.dataset.find_images` for its layouts.
    out : Path
        The feature file, replaced atomically; embeddings that are in it are not computed again.
    settings : ExtractSettings
    say : callable
        Told what happens, a line at a time.

    Returns
    -------
    Table
        What the file holds now.

    Raises
    ------
    DataError, WeightsError, FeatureFileError
        For input that the user can mend. Parts finished until then are kept.
    """
    backbone = create_backbone(settings.backbone, settings.weights, settings.size_px)
    dataset = find_images(data)  # before weights are fetched for a folder that is not there
    identity = backbone.identity
    if identity.has_random_weights:
        say("RANDOM WEIGHTS: this network knows nothing. For demos and tests only.")
    old = _read_old(out, identity, settings.overwrite)
    parts = Parts(out, identity.fingerprint)
    planned, files = plan_table(dataset, identity, settings.weights, settings.seed)
    _check(planned)  # before hours of extraction, not after
    cached = _locate(out, old) | parts.find(say)
    missing = {content: path for content, path in files.items() if content not in cached}
    say(f"{data}: {len(planned.paths)} images, {len(missing)} to extract")
    rejected = _extract(backbone, missing, parts, settings, say)
    table = planned.without(rejected)
    _say_rejected(table, say)
    for warning in _check(table):
        say(f"note: {warning}")
    if old is not None and table.equals(old):
        say(f"{out}: up to date, nothing to do")
    else:
        write_features(out, table, cached | parts.find(say), backbone.dim)
        say(f"{out}: {_describe(table, backbone.dim)}")
    parts.remove()
    return table


def _check(table: Table) -> list[str]:
    return check_splits(table.labels, table.splits, table.contents(), table.classes)


def _read_old(out: Path, identity: Identity, overwrite: bool) -> Table | None:
    """The table of the file that is there, if its embeddings can be used again."""
    if not out.exists():
        return None
    try:
        with FeatureFile(out) as features:
            table = features.table
        differences = table.config.identity.differences(identity)
        if differences:
            raise FeatureFileError(
                f"{out}: was made with other settings ({'; '.join(differences)}). Write another "
                "file (--out PATH; make: NAME=...), or replace it (--overwrite; make: OVERWRITE=1)."
            )
    except FeatureFileError:
        if not overwrite:
            raise
        return None
    return table


def _locate(out: Path, old: Table | None) -> dict[bytes, Location]:
    contents = [] if old is None else old.contents()
    return {content: Location(out, row) for row, content in enumerate(contents)}


def _extract(
    backbone: Backbone,
    missing: dict[bytes, Path],
    parts: Parts,
    settings: ExtractSettings,
    say: Callable[[str], None],
) -> dict[bytes, str]:
    """Embed the missing images into parts; gives the reason for each that cannot be used."""
    contents = list(missing)
    rejected: dict[bytes, str] = {}
    progress = progress_bar("extract", len(contents))

    def reject(row: int, reason: str) -> None:
        rejected[contents[row]] = reason
        progress.update()

    files = [ImageFile(path, content) for content, path in missing.items()]
    batches = image_batches(files, settings.size_px, settings.batch_size, reject)
    with progress:
        for rows, embeddings in _in_parts(_embed(backbone, batches, say), progress.update):
            _refuse_infinite(embeddings, [files[row].path for row in rows])
            parts.add([contents[row] for row in rows], embeddings)
    return rejected


def _embed(
    backbone: Backbone, batches: Iterator[Batch], say: Callable[[str], None]
) -> Iterator[Embedded]:
    first = next(batches, None)
    if first is None:
        # Nothing to embed: the network is not even loaded.
        return
    if isinstance(backbone, KerasBackbone):
        say(f"{backbone.name} on {describe_device()}")
    yield from backbone.embed(chain([first], batches))


def _in_parts(embedded: Iterator[Embedded], on_done: Callable[[int], object]) -> Iterator[Embedded]:
    """Gather batches until a part is due."""
    waiting: list[Embedded] = []
    started = time.monotonic()
    for batch in embedded:
        waiting.append(batch)
        on_done(len(batch.rows))
        is_full = sum(len(each.rows) for each in waiting) >= PART_IMAGES
        if is_full or time.monotonic() - started > PART_SECONDS:
            yield _concatenate(waiting)
            waiting, started = [], time.monotonic()
    if waiting:
        yield _concatenate(waiting)


def _concatenate(batches: list[Embedded]) -> Embedded:
    return Embedded(
        np.concatenate([batch.rows for batch in batches]),
        np.concatenate([batch.embeddings for batch in batches]),
    )


def _refuse_infinite(embeddings: NDArray[np.float32], paths: list[Path]) -> None:
    is_finite = np.isfinite(embeddings).all(axis=1)
    if not is_finite.all():
        first = paths[int(np.flatnonzero(~is_finite)[0])]
        raise DataError(
            f"{first}: its embedding is not finite, nor are those of {(~is_finite).sum() - 1} "
            "more images. The weights are damaged or of another network: give others, --weights."
        )


def _say_rejected(table: Table, say: Callable[[str], None]) -> None:
    if table.rejected:
        say(f"{len(table.rejected)} files are left out; all are listed in /rejected of the file:")
    for path, reason in table.rejected[:MOST_SAID]:
        say(f"  {path}: {reason}")
    if len(table.rejected) > MOST_SAID:
        say(f"  ... and {len(table.rejected) - MOST_SAID} more")


def _describe(table: Table, dim: int) -> str:
    in_splits = describe_counts(count_splits(table.splits))
    return (
        f"{len(table.paths)} images ({in_splits}), {len(table.classes)} classes, "
        f"{dim} columns, {len(table.rejected)} rejected"
    )
