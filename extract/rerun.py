"""Embed some images of a feature file again, and compare with what is stored."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from headbench.cache.errors import WAY_OUT
from headbench.cache.format import Config, count_splits, describe_counts
from headbench.cache.reader import FeatureFile
from headbench.extract.errors import DataError, UnusableImageError
from headbench.extract.images.resizing import resizing_of
from headbench.extract.images.stream import DecodedImage, ImageFile, decoded_images
from headbench.extract.networks.backbone import embed_images, reopen_backbone
from headbench.extract.networks.engines import Embedded, relative_differences
from headbench.extract.networks.keras_network import ENGINE_TOLERANCE, TOLERANCES
from headbench.extract.settings import Runtime
from headbench.extract.sources.open import images_of
from headbench.extract.stopwatch import Stopwatch

# Relative distance of two numbers that are neighbours in float16: at most 2^-10.
STORED_IN_FLOAT16 = 1e-3


@dataclass
class Rerun:
    """Images of a feature file that are embedded again, and how they differ from the file.

    Attributes
    ----------
    unread : dict of str to str
        Path of each image that cannot be read or decoded, and why.
    changed : list of str
        Paths of images whose bytes have changed since they were embedded.
    different : dict of str to float
        Path of each image whose embedding differs from the stored one, and by how much, relative.
    """

    features: FeatureFile
    rows: NDArray[np.intp]
    unread: dict[str, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    different: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        table = self.features.table
        self.paths = [table.paths[row] for row in self.rows]
        self.contents = [table.content_sha256[row].tobytes() for row in self.rows]
        self.counts = count_splits(table.splits[self.rows])
        self.stored = self.features.read(self.rows)
        self.tolerance = tolerance_of(table.config)

    def unchanged(self, files: list[ImageFile]) -> Iterator[DecodedImage]:
        """Decode the files; yield those whose bytes are the ones that were embedded."""
        resizing = resizing_of(self.features.identity)
        for image in decoded_images(files, resizing, self._reject, Stopwatch()):
            if image.content_sha256 == self.contents[image.row]:
                yield image
            else:
                self.changed.append(self.paths[image.row])

    def compare(self, embedded: Embedded) -> None:
        """Record the embeddings that differ from the stored ones."""
        with np.errstate(over="ignore"):  # too large for float16: infinite, and so another one
            embeddings = embedded.embeddings.astype(self.features.config.store)
        distances = relative_differences(embeddings.astype(np.float32), self.stored[embedded.rows])
        for row, distance in zip(embedded.rows.tolist(), distances.tolist(), strict=True):
            if not distance <= self.tolerance:  # NaN is never small
                self.different[self.paths[row]] = distance

    def mismatches(self) -> list[str]:
        """One line for each image that differs, sorted by path."""
        lines = {path: f"cannot be embedded again: {why}" for path, why in self.unread.items()}
        lines |= dict.fromkeys(self.changed, "its bytes have changed since it was embedded")
        lines |= {
            path: f"its embedding differs from the stored one by {distance:.1e} of its length, "
            f"expected at most {self.tolerance:.1e}"
            for path, distance in self.different.items()
        }
        return [f"{path}: {line}" for path, line in sorted(lines.items())]

    def advice(self) -> str:
        """What to do about the mismatches."""
        if self.different:
            return (
                "Other versions of Keras, TensorFlow or Pillow give other embeddings; or the file "
                f"was changed. To embed all images again: {self.features.path}: {WAY_OUT}"
            )
        return (
            "'headbench features' embeds changed images again, and lists those that cannot be used."
        )

    def describe(self) -> str:
        """What was found: a line, then one for each mismatch and what to do."""
        lines = self.mismatches()
        said = (
            f"{self.features.path}: {len(self.paths)} images embedded again "
            f"({describe_counts(self.counts)}): "
            f"{f'{len(lines)} not as stored' if lines else 'all as stored'}"
        )
        advice = [self.advice()] if lines else []
        return "\n".join([said, *(f"  {line}" for line in lines), *advice])

    def _reject(self, row: int, reason: UnusableImageError) -> None:
        if reason.content and reason.content != self.contents[row]:
            self.changed.append(self.paths[row])
        else:
            self.unread[self.paths[row]] = str(reason)


def rerun_features(
    features: FeatureFile,
    n_images: int,
    seed: int,
    data: str | None,
    weights: str | None,
    runtime: Runtime,
) -> Rerun:
    """Embed some images of a feature file again, and compare with the stored embeddings.

    The images are spread over the splits. If `data` and `weights` are None, images and weights are
    where they were. Raises `FeatureFileError` if an embedding is damaged; `DataError` if no image
    can be read; `WeightsError` if the weights are missing, or differ from those of the file.
    """
    rerun = Rerun(features, choose_rows(features.splits, n_images, seed))
    config = features.config
    backbone = reopen_backbone(config.identity, weights or config.weights)
    source = images_of(features, data)
    if not source.is_there:
        raise _no_images(source.name, "nothing")
    images = rerun.unchanged([source.file(path) for path in rerun.paths])
    for embedded in embed_images(backbone, images, runtime, Stopwatch()):
        rerun.compare(embedded)
    if len(rerun.unread) == len(rerun.paths):
        path, why = next(iter(rerun.unread.items()))
        raise _no_images(source.name, f"none of {len(rerun.paths)} ({path}: {why})")
    return rerun


def choose_rows(splits: NDArray[np.uint8], n_rows: int, seed: int) -> NDArray[np.intp]:
    """Random rows of a file, intp, ascending: equally many of each split, or all that it has."""
    order = np.random.default_rng(seed).permutation(len(splits))
    turns = np.empty(len(splits), dtype=np.intp)
    for split in np.unique(splits):
        rows = order[splits[order] == split]
        turns[rows] = np.arange(len(rows))
    return np.sort(order[np.argsort(turns[order], kind="stable")][:n_rows])


def tolerance_of(config: Config) -> float:
    """Largest relative distance between two embeddings of one image that is rounding."""
    stored = STORED_IN_FLOAT16 if config.store == "float16" else 0.0
    return stored + max(ENGINE_TOLERANCE, TOLERANCES[config.identity.precision])


def _no_images(name: str, found: str) -> DataError:
    return DataError(
        f"{name}: expected the images that the features were made from, found {found}. Say where "
        "they are with --data. URLs, lists and shards are opened only if you name them. Images "
        "from Python are not stored."
    )
