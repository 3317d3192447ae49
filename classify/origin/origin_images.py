"""Settings and images of train and val, their two splits, and four embeddings of each image."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.cache.format import SPLITS, Identity, Table
from headbench.cache.progress import Progress
from headbench.classify.doctor.model.anatomy import batch_norms
from headbench.classify.doctor.model.measured import Condition, runs_under
from headbench.classify.doctor.scalings import SCALINGS, Scaling
from headbench.classify.origin.origin_settings import OriginSettings
from headbench.extract.errors import DataError, UnusableImageError
from headbench.extract.images.stream import ImageFile, decoded_images, hash_files, in_batches
from headbench.extract.plan import check_table, plan_table, require_usable
from headbench.extract.sources.source import Dataset
from headbench.extract.stopwatch import Stopwatch

# Of the original script: the share of each class for validation, and the learning rate of Adam.
VALIDATION_SPLIT = 0.2
LEARNING_RATE = 0.001
LOG = logging.getLogger(__name__)
WRONG = SCALINGS["/255"]


@dataclass(frozen=True)
class Images:
    """Labelled images of train and val. Test is in the table too, but not used."""

    dataset: Dataset
    table: Table

    @property
    def labels(self) -> NDArray[np.int32]:
        """int32 (n_images,)."""
        return self.table.labels

    def rows(self, split: str) -> NDArray[np.intp]:
        """Rows of the table in a split."""
        return np.flatnonzero(self.table.splits == SPLITS.index(split))

    def files(self, rows: NDArray[np.intp]) -> list[ImageFile]:
        """Image files of some rows, in the given order."""
        contents = self.table.contents()
        source = self.dataset.source
        return [source.file(self.table.paths[row], contents[row]) for row in rows.tolist()]

    def without(self, rejected: dict[bytes, str]) -> "Images":
        """Leave out images that could not be decoded; `DataError` if too few are left."""
        left = Images(self.dataset, self.table.without(rejected))
        left.require_usable()
        return left

    def require_usable(self) -> list[str]:
        """Refuse splits that cannot be trained on; return warnings about small ones."""
        require_usable(self.table, self.dataset)
        return check_table(self.table)

    def file_order_split(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows of train and val as ``ImageDataGenerator(validation_split=0.2)`` splits them.

        Val is the first fifth of each class by file name (``int(0.2 * n)`` of n, as in
        keras-preprocessing's ``image/utils.py``). Test is left out. `DataError` if val is empty.
        """
        # The table is sorted by path, and so is each of its classes.
        used = np.flatnonzero(self.table.splits != SPLITS.index("test"))
        is_val = np.zeros(len(used), dtype=bool)
        for label in range(len(self.table.classes)):
            of_class = np.flatnonzero(self.labels[used] == label)
            is_val[of_class[: int(VALIDATION_SPLIT * len(of_class))]] = True
        if not is_val.any():
            raise DataError(
                f"{self.dataset.source.name}: validation_split={VALIDATION_SPLIT} leaves val "
                "empty: expected a class with at least 5 images in train and val together. Add "
                "images."
            )
        return used[~is_val], used[is_val]


def split_images(dataset: Dataset, identity: Identity, settings: OriginSettings) -> Images:
    """Label and split the images as ``headbench features`` does; see `plan_table`."""
    hashes = list(hash_files(dataset.source.file(each.path) for each in dataset.images))
    images = Images(dataset, plan_table(dataset, hashes, identity, settings.extraction()))
    for warning in images.require_usable():
        LOG.info(f"note: {warning}")
    return images


class Extraction(NamedTuple):
    """Four embeddings of every image of train and val.

    Attributes
    ----------
    images
        Images that could be decoded.
    embeddings : of float32 (n_images, dim)
        Zeros for test, which is not used. The scaling that the network expects comes first.
    seconds
        Time in the network.
    """

    images: Images
    embeddings: dict[Condition, NDArray[np.float32]]
    seconds: dict[Condition, float]


def extract_four(base: Any, own: Scaling, images: Images, batch_size: int, seed: int) -> Extraction:
    """Decode each file once and embed each batch in four ways; 32 kB an image at 2 048 columns.

    `base` is a network without preprocessing that expects pixels scaled by `own`; it is frozen, and
    nothing else of it changes. Each batch is drawn at random from one split, as in training, by
    `seed`: with batch statistics an embedding depends on the batch. `DataError` if too many files
    cannot be decoded.
    """
    base.trainable = False
    size_px, scalings = base.input_shape[1], (own, WRONG)
    runs = runs_under(base, scalings, batch_norms(base), (size_px, size_px))
    order = [Condition(each.name, mode) for each in scalings for mode in (False, True)]
    shape = (len(images.labels), base.output_shape[1])
    embeddings = {each: np.zeros(shape, dtype=np.float32) for each in order}
    seconds = dict.fromkeys(order, 0.0)
    rejected: dict[bytes, str] = {}
    for rows, pixels in _batches(images, size_px, batch_size, seed, rejected):
        for condition in order:
            started = time.perf_counter()
            embeddings[condition][rows] = runs[condition](pixels)
            seconds[condition] += time.perf_counter() - started
    if not rejected:
        return Extraction(images, embeddings, seconds)
    is_kept = np.array([content not in rejected for content in images.table.contents()])
    kept = {condition: each[is_kept] for condition, each in embeddings.items()}
    return Extraction(images.without(rejected), kept, seconds)


def _batches(
    images: Images, size_px: int, batch_size: int, seed: int, rejected: dict[bytes, str]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.uint8]]]:
    """Rows of the table and their pixels; adds what cannot be decoded to `rejected`."""
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(images.rows(split)) for split in ("train", "val")]
    with Progress("four extractions", sum(map(len, orders))) as progress:
        for order in orders:
            files = images.files(order)

            def reject(
                row: int, reason: UnusableImageError, files: list[ImageFile] = files
            ) -> None:
                rejected[files[row].content_sha256 or b""] = str(reason)

            decoded = decoded_images(files, size_px, reject, Stopwatch())
            for rows, pixels in in_batches(decoded, batch_size):
                yield order[rows], pixels
                progress.update(len(rows))
