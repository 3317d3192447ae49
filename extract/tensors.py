"""Features of images that Python has in its hands: ``tf.data``, PyTorch, ``datasets``, lists."""

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

    The images are read once, in their order, in bounded memory: row i is the i-th image that can be
    used, and the others are listed as rejected, with the reason. An image is known by its bytes, or
    by its pixels and shape: a run that is repeated reads all images again and embeds new ones only.
    Nothing keeps the images, so reports show none, and fine-tuning needs another source. Raises
    `DataError` if the elements are not of that kind, such as float images: it is unknown how those
    were scaled; or if the iterable itself fails. Returns what the file holds now.

    Parameters
    ----------
    dataset : iterable or sequence
        Of (image, label) or (image, label, split). An image is the bytes of an image file, a path,
        a PIL image, or uint8 pixels of any size, 0-255, (height, width, 3) RGB or (height, width).
        A label is an index into `classes` or the name of a class. A split is train, val, test, or
        None for one by content; without val or test, a part of train is taken for it.
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
        raise DataError("expected a dataset that ends, found one that repeats forever (repeat).")
    return extract_features(PythonImages(dataset, names), Path(out), settings)


def _checked_classes(classes: Sequence[str] | NDArray[np.str_] | None) -> list[str] | None:
    """Names of classes; `DataError` for what is no name, has no order, or stands twice."""
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
