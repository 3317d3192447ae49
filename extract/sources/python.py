"""Images that Python hands over: any iterable of (image, label), read once and not stored."""

import io
import operator
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headbench.cache.format import Rejected
from headbench.extract.errors import DataError, UnusableImageError
from headbench.extract.images.decode import AS_STORED, UPRIGHT, on_white, orientation, resizable
from headbench.extract.images.stream import MAX_FILE_BYTES, ImageFile, read_file
from headbench.extract.sources.source import (
    N_STAMPS,
    Found,
    LabelledImage,
    Listing,
    checked_class,
    order_of_numbers,
)
from headbench.extract.sources.split_folders import SPLIT_FOLDERS
from headbench.extract.sources.tar import Entry

LAYOUT = "Python"
# The others are in files of version 0.1, which had a source for each.
LAYOUTS = (LAYOUT, "tf.data", "TFRecord", "Hugging Face data set")
PAIRS = "Pass pairs, such as zip(images, labels) or ((row['image'], row['label']) for row in rows)."
ONE = "Pass one image at a time (tf.data: dataset.unbatch())."


@dataclass(frozen=True)
class PythonImages:
    """Labelled images, one after the other; the first is named 000000000.

    Attributes
    ----------
    dataset : iterable, or sequence with ``__len__`` and ``__getitem__``
        See `headbench.extract.tensors.extract_dataset`.
    class_order : sequence of str or None
        Names of all classes; None if labels are names, which are then sorted.
    entries, splits : list of Entry, list of str or None
        The entries that were read, and the split that each element names.
    """

    dataset: Any = ()
    class_order: Sequence[str] | None = None
    name: str = "images from Python"
    entries: list[Entry] = field(default_factory=list)
    splits: list[str | None] = field(default_factory=list)
    is_near = True
    is_there = False

    def images(self, max_bytes: int = MAX_FILE_BYTES) -> Iterator[tuple[Entry, bytes]]:
        """Read everything: an entry, and the bytes of an image file, for each element.

        A file behind a path may have at most `max_bytes`.
        """
        for number, element in enumerate(self._elements()):
            path, class_name = f"{number:09}", ""
            try:
                image, label, split = _parts_of(element)
                self.splits.append(_split_of(split))
                class_name = _class_of(label, self.class_order)
                yield Entry(path, class_name), as_file(image, max_bytes)
            except UnusableImageError as reason:
                yield Entry(path, class_name, reason=str(reason)), b""
            except DataError as error:
                raise DataError(f"{self.name}: image {number}: {error}") from error

    def find(self) -> Listing:
        """The images that were read."""
        labels = {entry.class_name for entry in self.entries if entry.class_name}
        order = self.class_order or order_of_numbers(labels)
        found = [_found(*each) for each in zip(self.entries, self.splits, strict=True)]
        return Listing(LAYOUT, found, order)

    def file(self, path: str, content: bytes | None = None) -> ImageFile:  # noqa: ARG002
        """Always a `DataError`."""
        raise DataError(f"{path!r}: {self.absence}")

    def stamps(self, paths: Sequence[str]) -> NDArray[np.int64]:
        """Unknown, int64 (n_paths, 4)."""
        return np.full((len(paths), N_STAMPS), -1, dtype=np.int64)

    @property
    def absence(self) -> str:
        """Why the images cannot be looked at."""
        return (
            f"the images came from Python ({self.name}): headbench does not store them, and cannot "
            "look at them again."
        )

    def _elements(self) -> Iterator[Any]:
        n_done = 0
        try:
            for element in _iterate(self.dataset):
                yield element
                n_done += 1
        except Exception as error:  # whatever the user's own code, or TensorFlow's, raises
            # Without the names of TensorFlow's own nodes around the message.
            what = re.sub(r"^\{\{.*?\}\} | \[Op:.*", "", str(error))
            raise DataError(
                f"{self.name}: stopped after {n_done} images: {type(error).__name__}: {what}. "
                "Finished embeddings are kept. Fix this and run the same again."
            ) from error


def _iterate(dataset: Any) -> Iterator[Any]:
    if hasattr(dataset, "__iter__"):
        return iter(dataset)
    # A Dataset of PyTorch need not raise IndexError at its end.
    return (dataset[number] for number in range(len(dataset)))


def _parts_of(element: Any) -> tuple[Any, Any, Any]:
    """Image, label, and split or None."""
    if not isinstance(element, tuple | list) or len(element) not in (2, 3):
        raise DataError(
            "expected (image, label) or (image, label, split), found "
            f"{type(element).__name__}. {PAIRS}"
        )
    image, label, split = (_without_framework(part) for part in (*element, None)[:3])
    return image, label, split


def _without_framework(value: Any) -> Any:
    """A tensor of TensorFlow or PyTorch as a NumPy array; everything else unchanged."""
    return value.numpy() if hasattr(value, "numpy") else value


def _split_of(split: Any) -> str | None:
    name = split.decode(errors="replace") if isinstance(split, bytes) else split
    if name is None or str(name).lower() in SPLIT_FOLDERS:
        return None if name is None else SPLIT_FOLDERS[str(name).lower()]
    raise DataError(f"expected the split train, val or test, found {name!r}.")


def _class_of(label: Any, classes: Sequence[str] | None) -> str:
    if label is None:
        raise UnusableImageError("has no label")
    if isinstance(label, str | bytes):
        return _named_class(label, classes)
    try:
        number = operator.index(label)
    except TypeError as error:
        raise DataError(
            f"expected a label that is one integer or text, found {type(label).__name__}. {ONE}"
        ) from error
    if classes is None:
        raise DataError("its label is an integer: pass the names of the classes, in their order.")
    if not 0 <= number < len(classes):
        raise UnusableImageError(f"its label {number} is not in 0 to {len(classes) - 1}")
    return classes[number]


def _named_class(label: str | bytes, classes: Sequence[str] | None) -> str:
    try:
        name = checked_class(label.decode() if isinstance(label, bytes) else str(label))
    except UnicodeDecodeError as error:
        raise UnusableImageError("its label is not UTF-8 text") from error
    if classes is not None and name not in classes:
        raise UnusableImageError(f"its label {name!r} is not one of the classes")
    return name


def as_file(image: Any, max_bytes: int) -> bytes:
    """The bytes of an image file; pixels become a BMP file, which does not change them.

    Parameters
    ----------
    image : bytes, path-like, PIL image or array
        See `headbench.extract.tensors.extract_dataset`.
    max_bytes : int
        A path leads to no more.

    Raises
    ------
    UnusableImageError
        If this one cannot be used.
    DataError
        If it is of a kind that is no image, such as float pixels.
    """
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | os.PathLike):
        return read_file(Path(image), max_bytes)
    if image is None:
        raise UnusableImageError("has no image")
    pixels = _upright(image) if isinstance(image, Image.Image) else _checked_pixels(image)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "BMP")
    return file.getvalue()


def _upright(image: Image.Image) -> NDArray[np.uint8]:
    """RGB on white of a PIL image, upright, uint8 (height, width, 3)."""
    if image.mode in ("I", "F"):
        raise UnusableImageError(f"mode {image.mode} has 32 bits per channel: convert it to 8 bits")
    try:
        image.load()  # an opened file is read now; it may be damaged
        turn = UPRIGHT.get(orientation(image), AS_STORED)[0]
        return on_white(resizable(image if turn is None else image.transpose(turn)))
    except Exception as error:  # a damaged file makes decoders raise anything
        raise UnusableImageError(f"cannot be decoded: {error}") from error


def _checked_pixels(image: Any) -> NDArray[np.uint8]:
    """An array of grey or RGB pixels, uint8 (height, width) or (height, width, 3)."""
    if not hasattr(image, "__array__"):
        raise DataError(
            "expected an image that is bytes, a path, a PIL image or a uint8 array, found "
            f"{type(image).__name__}."
        )
    pixels = np.asarray(image)
    if pixels.dtype.kind == "f":
        raise DataError(
            f"expected pixels of uint8, found {pixels.dtype}: it is unknown whether they are "
            "0-255, 0-1 or already preprocessed. Pass uint8 RGB, 0-255, before any scaling."
        )
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise DataError(
            "expected one image at a time, uint8 (height, width, 3) or (height, width), found "
            f"{pixels.dtype} {pixels.shape}. {ONE}"
        )
    if pixels.shape[2:] not in ((), (3,)) or not pixels.size:
        raise UnusableImageError(f"expected (height, width, 3) pixels, found {pixels.shape}")
    return pixels


def _found(entry: Entry, split: str | None) -> Found:
    if entry.class_name:
        return LabelledImage(entry.path, entry.class_name, split)
    return Rejected(entry.path, entry.reason)
