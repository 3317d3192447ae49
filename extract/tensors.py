"""Features of images that Python holds: ``tf.data``, PyTorch, ``datasets``, lists."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.cache.format import Table
from headbench.extract.errors import DataError, UnusableImageError
from headbench.extract.settings import ExtractSettings
from headbench.extract.sources.python import PythonImages
from headbench.extract.sources.source import checked_class
from headbench.extract.stage import extract_features


def extract_dataset(
    dataset: Any,
    classes: Sequence[str] | NDArray[np.str_] | None,
    out: str | Path,
    settings: ExtractSettings,
) -> Table:
    """Make a feature file of labelled images, or bring it up to date.

    The images are read once, in their order, in bounded memory. Row i is the i-th usable image; the
    others are listed as rejected, with the reason. An image is identified by its bytes, or by its
    pixels and shape: a repeated run reads all images again and embeds only new ones. The images are
    not stored, so reports show none, and fine-tuning needs another source. Returns the table of the
    file. Raises `DataError` for other elements, such as float images, whose scaling is unknown; or
    if the iterable itself fails.

    Parameters
    ----------
    dataset : iterable or sequence
        Of (image, label) or (image, label, split). An image is the bytes of an image file, a path,
        a PIL image, or uint8 pixels of any size, 0-255, (height, width, 3) RGB or (height, width).
        A label is an index into `classes` or the name of a class. A split is train, val, test, or
        None for one drawn by content; if val or test is missing, it is drawn from train.
    classes : sequence or array of str, or None
        Names of the classes, in their order; None where labels are names, which are sorted then.
    out : str or Path
        The feature file to write, such as ``runs/pets/features.h5``.
    settings : ExtractSettings
        Network, weights, size, and how to split.
    """
    names = _checked_classes(classes)
    # tf.data.INFINITE_CARDINALITY
    if hasattr(dataset, "cardinality") and int(dataset.cardinality()) == -1:
        raise DataError(
            "expected a finite dataset, found one that repeats forever: remove its repeat()."
        )
    return extract_features(PythonImages(dataset, names), Path(out), settings)


def _checked_classes(classes: Sequence[str] | NDArray[np.str_] | None) -> list[str] | None:
    """Names of classes; `DataError` if one is no name or appears twice, or they have no order."""
    if classes is None:
        return None
    if isinstance(classes, str | bytes) or not isinstance(classes, Sequence | np.ndarray):
        raise DataError(
            f"classes: expected a list of names, found {type(classes).__name__}. Hand over the "
            "names in the order of the labels."
        )
    names: dict[str, None] = {}
    for name in classes:
        if not isinstance(name, str):
            raise DataError(f"classes: expected names (str), found {type(name).__name__}.")
        if name in names:
            raise DataError(f"classes: expected different names, found {name!r} twice.")
        try:
            names[str(checked_class(name))] = None
        except UnusableImageError as error:
            raise DataError(f"classes: {name!r}: {error}.") from error
    return list(names)
