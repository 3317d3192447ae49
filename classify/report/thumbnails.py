"""Small pictures of the images, inside the page."""

import base64
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cache.reader import FeatureFile
from extract.errors import DataError, UnusableImageError
from extract.read import ImageFile
from extract.sources.source import Source
from extract.stopwatch import Stopwatch
from extract.stream import N_AHEAD, N_THREADS, DecodedImage, decode_file, decoded_images
from extract.threads import map_ahead

# WebP: at this size a JPEG is half header.
FORMAT, QUALITY = "webp", 60


class Thumbnails:
    """The middle of each image, as the network sees it; and why one cannot be shown.

    Parameters
    ----------
    features : FeatureFile
    images : Source
        The folder of images.

    Attributes
    ----------
    missing : dict of int to str
        By row of the file: why there is no picture of it.
    """

    def __init__(self, features: FeatureFile, images: Source) -> None:
        self.images = images
        self.missing: dict[int, str] = {}
        self.n_asked = 0
        self._paths = features.table.paths
        self._contents = features.table.contents()

    def make(self, rows: Iterable[int], size_px: int) -> dict[int, str]:
        """Thumbnails of some rows of the file, as ``data:`` addresses.

        Parameters
        ----------
        rows : iterable of int
        size_px : int
            Height and width.

        Returns
        -------
        dict of int to str
            Without those that cannot be shown. An image whose bytes are no longer those that were
            extracted is not shown: it may be another picture.
        """
        wanted = sorted(set(rows))
        self.n_asked += len(wanted)
        files = {row: self._file(row) for row in wanted}
        there = [row for row, file in files.items() if file is not None]

        def note(index: int, reason: UnusableImageError) -> None:
            self.missing[there[index]] = str(reason)

        found = decoded_images(
            [file for file in files.values() if file is not None], size_px, note, Stopwatch()
        )
        # Side by side, as they are decoded: writing one takes a third as long as reading it.
        addresses = map_ahead(_address, found, N_THREADS, N_AHEAD)
        try:
            return {there[row]: address for row, address in addresses}
        except DataError as error:  # a store far away does not answer: the report does without
            self.missing = dict.fromkeys(there, str(error).rstrip(".")) | self.missing
            return {}

    @property
    def note(self) -> str:
        """What is missing, in a sentence; empty if nothing is."""
        if not self.missing:
            return ""
        if not self.images.is_there:
            return (
                f"No pictures: the folder of images, {self.images.name}, is not there. "
                "Name it with --data (make: DATA=...)."
            )
        row, reason = next(iter(self.missing.items()))
        return (
            f"{len(self.missing)} of {self.n_asked} pictures cannot be shown, such as "
            f"{self._paths[row]}: {reason}."
        )

    def _file(self, row: int) -> ImageFile | None:
        try:
            return self.images.file(self._paths[row], self._contents[row])
        except DataError as error:
            self.missing[row] = str(error)
            return None


def encode(image: NDArray[np.uint8]) -> bytes:
    """A picture as a file of `FORMAT`, of uint8 (height, width, 3), RGB, 0-255."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, FORMAT, quality=QUALITY)
    return buffer.getvalue()


def thumbnail(path: Path, size_px: int) -> str:
    """The middle of one image file as a ``data:`` address, or why it cannot be shown."""
    found = decode_file(ImageFile(path), size_px, Stopwatch())
    return str(found) if isinstance(found, UnusableImageError) else _as_address(found)


def _address(decoded: DecodedImage) -> tuple[int, str]:
    return decoded.row, _as_address(decoded.image)


def _as_address(image: NDArray[np.uint8]) -> str:
    return f"data:image/{FORMAT};base64,{base64.b64encode(encode(image)).decode()}"
