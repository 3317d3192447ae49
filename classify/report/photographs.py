"""Photographs of the page: which ones are shown, and their thumbnails."""

import base64
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headbench.cache.progress import Progress
from headbench.cache.reader import FeatureFile
from headbench.classify.checked import as_json
from headbench.classify.inspection.mistakes import ConfusedPair
from headbench.classify.labelled_files import why_absent
from headbench.classify.report.opened_run import OpenedRun
from headbench.classify.report.results import DuplicatesFound, SuspectsFound
from headbench.extract.errors import DataError, UnusableImageError
from headbench.extract.images.resizing import Resizing
from headbench.extract.images.stream import (
    N_AHEAD,
    N_THREADS,
    DecodedImage,
    ImageFile,
    decode_file,
    decoded_images,
    map_ahead,
)
from headbench.extract.sources.source import Source
from headbench.extract.stopwatch import Stopwatch

# WebP: at this size a JPEG is half header.
FORMAT, QUALITY = "webp", 60
N_CARDS = 24
N_GALLERY_PAIRS, N_OF_PAIR = 6, 6
N_TOP = 5


class Thumbnails:
    """Thumbnails of images, cropped as for the network, or the reason why one is missing.

    Attributes
    ----------
    missing : dict of int to str
        The reason why an image has no thumbnail, by row of the feature file.
    """

    def __init__(self, features: FeatureFile, images: Source) -> None:
        self.images = images
        self.missing: dict[int, str] = {}
        self.n_asked = 0
        self._features = features
        self._named: dict[int, tuple[str, bytes]] = {}

    def make(self, rows: Iterable[int], size_px: int) -> dict[int, str]:
        """Thumbnails of some rows of the feature file, as ``data:`` URLs.

        Parameters
        ----------
        size_px : int
            Height and width.

        Returns
        -------
        dict of int to str
            By row, without images that cannot be shown. An image whose bytes changed since
            extraction is not shown: it may be another picture.
        """
        wanted = sorted(set(rows))
        self.n_asked += len(wanted)
        # Side by side, as they are decoded: writing one takes a third as long as reading it.
        addresses = map_ahead(_address, self.decoded(wanted, size_px), N_THREADS, N_AHEAD)
        made: dict[int, str] = {}
        try:
            with Progress("thumbnails", len(wanted)) as progress:
                for row, address in addresses:
                    made[row] = address
                    progress.update()
            return made
        except DataError as error:  # a store far away does not answer: the report does without
            self.missing = dict.fromkeys(wanted, str(error).rstrip(".")) | self.missing
            return {}

    def decoded(self, rows: Sequence[int], size: Resizing | int) -> Iterator[DecodedImage]:
        """Some images with their rows in the feature file; those that are unusable are missing.

        Raises `DataError` if a store far away does not answer.
        """
        if len(rows):
            self._named |= self._read(np.array(rows, dtype=np.intp))
        files = {row: self._file(row) for row in rows}
        there = [row for row, file in files.items() if file is not None]

        def note(index: int, reason: UnusableImageError) -> None:
            self.missing[there[index]] = str(reason)

        usable = (file for file in files.values() if file is not None)
        for each in decoded_images(usable, size, note, Stopwatch()):
            yield each._replace(row=there[each.row])

    @property
    def note(self) -> str:
        """A sentence about missing thumbnails; empty if none is missing."""
        if not self.missing:
            return ""
        if not self.images.is_there:
            return f"No photographs: {why_absent(self.images)}"
        row, reason = next(iter(self.missing.items()))
        return (
            f"{len(self.missing)} of {self.n_asked} photographs cannot be shown, such as "
            f"{self._named[row][0]}: {reason}."
        )

    def _read(self, rows: NDArray[np.intp]) -> dict[int, tuple[str, bytes]]:
        """Path and SHA-256 of some rows: of a large file all would fill the memory."""
        paths, _, contents = self._features.about(rows)
        return dict(zip(rows.tolist(), zip(paths, contents, strict=True), strict=True))

    def _file(self, row: int) -> ImageFile | None:
        try:
            return self.images.file(*self._named[row])
        except DataError as error:
            self.missing[row] = str(error)
            return None


def encode(image: NDArray[np.uint8]) -> bytes:
    """An image, uint8 (height, width, 3), RGB, 0-255, as the bytes of a file of `FORMAT`."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, FORMAT, quality=QUALITY)
    return buffer.getvalue()


def thumbnail(path: Path, size_px: int) -> str:
    """Thumbnail of one image file as a ``data:`` URL, or why it cannot be shown."""
    found = decode_file(ImageFile(path), size_px, Stopwatch())
    return str(found) if isinstance(found, UnusableImageError) else as_address(found)


def _address(decoded: DecodedImage) -> tuple[int, str]:
    return decoded.row, as_address(decoded.image)


def as_address(image: NDArray[np.uint8]) -> str:
    """An image, uint8 (height, width, 3), RGB, 0-255, as a ``data:`` URL."""
    return f"data:image/{FORMAT};base64,{base64.b64encode(encode(image)).decode()}"


class Card(NamedTuple):
    """One image of a gallery.

    Attributes
    ----------
    row : int
        Row of the feature file.
    caption : tuple of str
        Lines below the image.
    """

    row: int
    caption: tuple[str, ...]


class Gallery(NamedTuple):
    """Images under a heading."""

    title: str
    note: str
    cards: list[Card]


class Galleries(NamedTuple):
    """Images that a head classifies wrongly, and correct ones with a low probability."""

    confident: Gallery
    pairs: list[Gallery]
    barely_correct: Gallery

    @property
    def mistakes(self) -> list[Card]:
        """The cards of images that are classified wrongly."""
        return [card for each in (self.confident, *self.pairs) for card in each.cards]

    @property
    def cards(self) -> list[Card]:
        """All cards of all galleries."""
        return [*self.mistakes, *self.barely_correct.cards]


def mistake_galleries(opened: OpenedRun, confusions: Sequence[ConfusedPair]) -> Galleries:
    """The most confident mistakes, the most confused pairs, the least confident correct ones."""
    y, proba = opened.y_test, opened.shown.test
    given, confidence = proba.argmax(axis=1), proba.max(axis=1)
    wrong, correct = np.flatnonzero(given != y), np.flatnonzero(given == y)
    # A pair that was confused once shows no pattern: it is among the mistakes above.
    often = [each for each in confusions if each.n > 1]
    return Galleries(
        Gallery(
            "Most confident mistakes",
            "Wrong predictions with a high probability: look for wrong labels, and for photographs "
            "that show two classes.",
            _cards(opened, wrong[np.argsort(-confidence[wrong], kind="stable")][:N_CARDS]),
        ),
        [_pair(opened, each) for each in often[:N_GALLERY_PAIRS]],
        Gallery(
            "Least confident correct predictions",
            "Correct predictions with a low probability: collect more photographs like these.",
            _cards(opened, correct[np.argsort(confidence[correct], kind="stable")][:N_CARDS]),
        ),
    )


def suspect_cards(suspects: SuspectsFound) -> list[Card]:
    """Images whose label may be wrong, the most suspicious first."""
    return [
        Card(
            each.row,
            (
                f"labelled {each.class_} ({each.probability:.2f})",
                f"looks like {each.looks_like} ({each.its_probability:.2f})",
                each.split,
            ),
        )
        for each in suspects.images[:N_CARDS]
    ]


def duplicate_cards(duplicates: DuplicatesFound) -> list[Card]:
    """Pairs of duplicates, side by side."""
    return [
        Card(
            each.row,
            (
                f"{each.class_}, {each.split}",
                "same file" if pair.is_exact else f"similarity {pair.similarity:.3f}",
            ),
        )
        for pair in duplicates.pairs[: N_CARDS // 2]
        for each in (pair.first, pair.second)
    ]


def details(opened: OpenedRun, rows: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Path, truth and, for images of test, the five most probable classes of some rows."""
    in_test = {int(row): index for index, row in enumerate(opened.features.rows("test"))}
    return {
        row: {
            **as_json(opened.image(row)),
            "top": _top(opened, in_test[row]) if row in in_test else None,
        }
        for row in sorted(set(rows))
    }


def _pair(opened: OpenedRun, confusion: ConfusedPair) -> Gallery:
    true, given = (
        opened.features.classes.index(name) for name in (confusion.true, confusion.given)
    )
    proba = opened.shown.test
    both = np.flatnonzero((opened.y_test == true) & (proba.argmax(axis=1) == given))
    ordered = both[np.argsort(-proba[both, given], kind="stable")]
    return Gallery(
        f"{confusion.true} mistaken for {confusion.given}",
        f"{confusion.n} of {confusion.of} images.",
        _cards(opened, ordered[:N_OF_PAIR]),
    )


def _cards(opened: OpenedRun, indices: NDArray[np.intp]) -> list[Card]:
    rows = opened.features.rows("test")
    return [Card(int(rows[index]), _caption(opened, index)) for index in indices]


def _caption(opened: OpenedRun, index: int) -> tuple[str, ...]:
    classes, y, proba = opened.features.classes, opened.y_test[index], opened.shown.test[index]
    given, probability = proba.argmax(), f"({proba.max():.2f})"
    if given == y:
        return (f"{classes[y]} {probability}",)
    return (f"true: {classes[y]}", f"predicted: {classes[given]} {probability}")


def _top(opened: OpenedRun, index: int) -> list[tuple[str, float]]:
    proba = opened.shown.test[index]
    best = np.argsort(-proba, kind="stable")[:N_TOP]
    return [(opened.features.classes[label], round(float(proba[label]), 4)) for label in best]
