"""Stage one: plan what is missing, run it, commit it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache.disk import require_free, temporary_path
from cache.format import Table, count_splits, describe_counts
from cache.lock import one_writer
from cache.parts import Parts
from cache.writer import n_bytes, write_features
from extract.backbones import MEAN_COLOR, Backbone, create_backbone, embed_images
from extract.dataset import Dataset, find_images
from extract.devices import GPU, find_devices, has_nvidia_gpu
from extract.embedder import Embedded
from extract.errors import DataError, UnusableImageError
from extract.plan import Plan, check_table, make_plan, previous_precision, require_usable
from extract.progress import Progress
from extract.settings import AUTO, FLOAT32, MIXED_FLOAT16, ExtractSettings
from extract.stopwatch import Stopwatch
from extract.stream import ImageFile, decoded_images

# A killed run loses at most the part in flight.
PART_IMAGES = 512
PART_SECONDS = 30.0
MOST_SAID = 10


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
    DataError, WeightsError, FeatureFileError, StorageError
        For what the user can mend. Parts finished until then are kept.
    """
    backbone, dataset = _open(data, out, settings)
    if backbone.identity.has_random_weights:
        say("RANDOM WEIGHTS: this network knows nothing. For demos and tests only.")
    with one_writer(out):
        parts = Parts(out, backbone.identity.fingerprint)
        plan = make_plan(dataset, out, backbone.identity, parts, settings, say)
        say(f"{data}: {plan}")
        _require_room(out, plan, backbone.dim)
        rejected = _extract(backbone, dataset, plan, parts, settings, say)
        table = plan.table.without(rejected)
        require_usable(table, dataset)
        _say_rejected(table, say)
        for warning in check_table(table):
            say(f"note: {warning}")
        if plan.old is not None and table.equals(plan.old):
            say(f"{out}: up to date, nothing to do")
        else:
            write_features(out, table, plan.cached, backbone.dim)
            say(f"{out}: {_describe(table, backbone.dim)}")
        _clear_up(out, parts, say)
    return table


def describe_plan(
    data: Path, out: Path, settings: ExtractSettings, say: Callable[[str], None]
) -> None:
    """Say what `extract_features` would do, and write nothing; takes and raises the same."""
    backbone, dataset = _open(data, out, settings)
    parts = Parts(out, backbone.identity.fingerprint)
    plan = make_plan(dataset, out, backbone.identity, parts, settings, say, keep_hashes=False)
    say(f"{data}: {plan}")


def _open(data: Path, out: Path, settings: ExtractSettings) -> tuple[Backbone, Dataset]:
    # Before weights are fetched, or GPUs looked for, for a folder that is not there.
    dataset = find_images(data)
    backbone = create_backbone(
        settings.backbone,
        settings.weights,
        settings.size_px,
        settings.pooling,
        _choose_precision(out, settings),
    )
    return backbone, dataset


def _choose_precision(out: Path, settings: ExtractSettings) -> str:
    """What `auto` means here; TensorFlow is imported only where there may be a GPU to ask."""
    if settings.precision != AUTO:
        return settings.precision
    previous = previous_precision(out)
    if previous is not None:
        return previous
    if settings.backbone == MEAN_COLOR or not (settings.device == GPU or has_nvidia_gpu()):
        return FLOAT32
    gains = find_devices(settings.device).gain_from_float16
    return MIXED_FLOAT16 if gains else FLOAT32


def _require_room(out: Path, plan: Plan, dim: int) -> None:
    """Room for the parts, and for the new file while the old one is still there."""
    if plan.changes_nothing:
        return
    parts = len(plan.missing) * 4 * dim
    require_free(out.parent, parts + n_bytes(plan.table, dim))


def _clear_up(out: Path, parts: Parts, say: Callable[[str], None]) -> None:
    temporary_path(out).unlink(missing_ok=True)  # of a run that was killed
    parts.remove()
    for folder in parts.others():
        say(
            f"note: {folder}: finished embeddings of an interrupted run with other settings. That "
            "run can go on from them; if it is not wanted any more, delete the folder."
        )


def _extract(
    backbone: Backbone,
    dataset: Dataset,
    plan: Plan,
    parts: Parts,
    settings: ExtractSettings,
    say: Callable[[str], None],
) -> dict[bytes, str]:
    """Embed the missing images into parts; gives the reason for each that cannot be used."""
    contents = list(plan.missing)
    files = [ImageFile(path, content) for content, path in plan.missing.items()]
    rejected: dict[bytes, str] = {}
    stopwatch = Stopwatch()
    progress = Progress("extract", len(contents))
    most = len(plan.table.paths) - len(dataset.images) / 2

    def reject(row: int, reason: UnusableImageError) -> None:
        rejected[contents[row]] = str(reason)
        progress.reject()
        if len(rejected) > most:
            require_usable(plan.table.without(rejected), dataset)

    images = decoded_images(files, settings.size_px, reject, stopwatch)
    with progress:
        embedded = embed_images(backbone, images, settings.runtime, stopwatch, say)
        for rows, embeddings in _in_parts(embedded, progress.update):
            _refuse_infinite(embeddings, [files[row].path for row in rows])
            with stopwatch.measure("write"):
                plan.cached.update(parts.add([contents[row] for row in rows], embeddings))
    if contents:
        say(f"{progress.summary()}: {stopwatch}")
    return rejected


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
            "more images. The weights are damaged or of another network (give others, --weights), "
            "or too large for float16 (--precision float32)."
        )


def _say_rejected(table: Table, say: Callable[[str], None]) -> None:
    if table.rejected:
        say(f"{len(table.rejected)} files are left out; all are listed in /rejected of the file:")
    for path, reason, _ in table.rejected[:MOST_SAID]:
        say(f"  {path}: {reason}")
    if len(table.rejected) > MOST_SAID:
        say(f"  ... and {len(table.rejected) - MOST_SAID} more")


def _describe(table: Table, dim: int) -> str:
    in_splits = describe_counts(count_splits(table.splits))
    return (
        f"{len(table.paths)} images ({in_splits}), {len(table.classes)} classes, "
        f"{dim} columns in {table.config.store}, {len(table.rejected)} rejected"
    )
