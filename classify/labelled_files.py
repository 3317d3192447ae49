"""The images behind a feature file, for what trains on pixels."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headbench.cache.reader import FeatureFile
from headbench.classify.errors import RunError
from headbench.extract.errors import UnusableImageError
from headbench.extract.images.resizing import Resizing, resizing_of
from headbench.extract.images.stream import Batch, ImageFile, image_batches
from headbench.extract.sources import python
from headbench.extract.sources.open import images_of as images_of
from headbench.extract.sources.source import Source


@dataclass(frozen=True)
class LabelledFiles:
    """The images of a split, decoded anew whenever they are asked for.

    Attributes
    ----------
    files : list of ImageFile, length n_images
    labels : int32 (n_images,)
    resizing : Resizing or int
        See `decode`.
    """

    files: list[ImageFile]
    labels: NDArray[np.int32]
    resizing: Resizing | int

    def batches(self, batch_size: int, order: NDArray[np.intp] | None = None) -> Iterator[Batch]:
        """Batches in the order given, by default as they stand; rows count in that order."""
        files = self.files if order is None else [self.files[row] for row in order]
        return image_batches(files, self.resizing, batch_size, refuse_image(files))


def refuse_image(files: Sequence[ImageFile]) -> Callable[[int, UnusableImageError], None]:
    """End with an error at an image that can no longer be used."""

    def refuse(row: int, reason: UnusableImageError) -> None:
        raise RunError(
            f"{files[row].path}: {reason}. Run 'headbench features' and 'headbench heads' again."
        )

    return refuse


def why_absent(images: Source) -> str:
    """Why there are no images to look at, where a source is not there."""
    if isinstance(images, python.PythonImages):
        return images.absence
    return (
        f"{images.name}: expected the images that the features were made from, found nothing. Name "
        "their folder with --data. URLs, lists and shards are opened only if you name them."
    )


def open_split(features: FeatureFile, split: str, images: Source) -> LabelledFiles:
    """The images of a split, where they lie.

    Parameters
    ----------
    split : {"train", "val", "test"}

    Raises
    ------
    RunError, DataError
        If the folder is not there, or a path of the file leads out of it.
    """
    if not images.is_there:
        raise RunError(why_absent(images))
    table, rows = features.table, features.rows(split)
    contents = table.contents()
    files = [images.file(table.paths[row], contents[row]) for row in rows]
    return LabelledFiles(files, table.labels[rows], resizing_of(features.identity))
