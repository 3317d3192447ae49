"""Some labelled images, as the model of a user is to see them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from extract.errors import DataError, UnusableImageError
from extract.read import ImageFile
from extract.sources.folder import Folder, image_path
from extract.sources.open import find_images
from extract.sources.source import LabelledImage
from extract.stopwatch import Stopwatch
from extract.stream import decoded_images

N_IMAGES = 200
SEED = 0


class Sample(NamedTuple):
    """Decoded images with their labels.

    Attributes
    ----------
    images : uint8 (n, height, width, 3)
        RGB, 0-255.
    labels : int64 (n,)
        Index into `classes`.
    classes : tuple of str
        All of the folder's, sorted: as Keras numbers class folders.
    paths : list of Path
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    paths: list[Path]

    @property
    def largest_share(self) -> float:
        """Share of the class that has the most images: what guessing it would get right."""
        return float(np.bincount(self.labels).max() / len(self.labels))


def draw_sample(root: Path, size: tuple[int, int], n_images: int = N_IMAGES) -> Sample:
    """Draw images, as many of each class as there are for all, of val or test where there are.

    Parameters
    ----------
    root : Path
        Folder of labelled images.
    size : tuple of int
        Height and width, px. If they differ, the middle of the square of the longer one.
    n_images : int
        At most; those that cannot be used are left out here, and named by the checks on data.

    Raises
    ------
    DataError
        If the folder cannot be worked with, or no image drawn can be used.
    """
    dataset = find_images(Folder(root))
    held_out = [image for image in dataset.images if image.given_split in ("val", "test")]
    drawn = _draw(held_out or list(dataset.images), n_images)
    paths = [image_path(root, image.path) for image in drawn]
    files = [ImageFile(path) for path in paths]

    def leave_out(row: int, reason: UnusableImageError) -> None:
        """Named elsewhere."""

    found = list(decoded_images(files, max(size), leave_out, Stopwatch()))
    if not found:
        raise DataError(f"{root}: none of {len(drawn)} images drawn can be used.")
    rows = [image.row for image in found]
    label_of = {name: label for label, name in enumerate(dataset.classes)}
    return Sample(
        np.stack([_middle(image.image, size) for image in found]),
        np.array([label_of[drawn[row].class_name] for row in rows]),
        dataset.classes,
        [paths[row] for row in rows],
    )


def _middle(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    top, left = ((has - wanted) // 2 for has, wanted in zip(image.shape, size, strict=False))
    return image[top : top + size[0], left : left + size[1]]


def _draw(images: list[LabelledImage], n_images: int) -> list[LabelledImage]:
    """In turns of one image a class, in random order."""
    order = np.random.default_rng(SEED).permutation(len(images))
    turn: dict[str, int] = {}
    ranked = []
    for place, row in enumerate(order.tolist()):
        name = images[row].class_name
        turn[name] = turn.get(name, -1) + 1
        ranked.append((turn[name], place, row))
    return [images[row] for _, _, row in sorted(ranked)[:n_images]]
