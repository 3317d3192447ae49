"""Features of a ``tf.data.Dataset``: for Python, not for the command line.

::

    from extract.tensors import extract_dataset

    extract_dataset(dataset, classes, Path("runs/mine/features.h5"), ExtractSettings(), print)
"""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cache.format import Table
from extract.errors import DataError, UnusableImageError
from extract.keras_runtime import load_tensorflow
from extract.settings import ExtractSettings
from extract.sources.read_once import TF_DATA, ReadOnce
from extract.sources.source import checked_class
from extract.sources.tar import Entry
from extract.stage import extract_features

DATASET = "a tf.data.Dataset"
UNBATCH = "Of a dataset in batches hand over dataset.unbatch()."
CHANNELS = 3
# An image and its label.
Pair = tuple[Any, Any]


def extract_dataset(
    dataset: Any,
    classes: Sequence[str] | NDArray[np.str_] | None,
    out: str | Path,
    settings: ExtractSettings,
    say: Callable[[str], None],
) -> Table:
    """Make a feature file of a ``tf.data.Dataset``, or bring it up to date.

    The dataset is iterated once, in its own order; images are called 000000000, 000000001, ... An
    image is known by its content, so a dataset that is run again is read again, and embedded only
    where it has changed. Splits are decided by content. Nothing keeps the images: reports show
    none, and fine-tuning cannot train on them.

    Parameters
    ----------
    dataset : tf.data.Dataset
        Of (image, label), one pair at a time. An image is uint8 (height, width, 3), RGB, 0-255, of
        any size; or the bytes of an image file, a scalar string. A label is an integer, an index
        into `classes`, or the name of a class, a scalar string.
    classes : sequence or array of str, or None
        Names of the classes, in their order; None where labels are names, which are sorted then.
    out, settings, say
        See `extract.stage.extract_features`.

    Returns
    -------
    Table
        What the file holds now.

    Raises
    ------
    DataError
        If the dataset is not of that kind: float images above all, of which nobody knows how they
        were scaled.
    WeightsError, FeatureFileError, StorageError
    """
    names = checked_classes(classes)
    _check_spec(dataset, names)
    images = partial(streamed, DATASET, dataset.as_numpy_iterator, _as_pair, names)
    source = ReadOnce(DATASET, TF_DATA, names or (), images)
    return extract_features(source, Path(out), settings, say)


def streamed(
    name: str,
    elements: Callable[[], Iterator[Any]],
    as_pair: Callable[[Any], Pair],
    classes: Sequence[str] | None,
) -> Iterator[tuple[Entry, bytes]]:
    """Entry and bytes of each image, for `ReadOnce`.

    Parameters
    ----------
    name : str
        Of the source, for errors.
    elements : callable
        Gives the elements from the first one on.
    as_pair : callable
        Makes image and label of an element, or raises `UnusableImageError`.
    classes : sequence of str or None
        See `extract_dataset`.
    """
    for number, element in enumerate(_until_it_fails(name, elements)):
        path = f"{number:09}"
        try:
            image, label = as_pair(element)
            class_name, data = _class_of(label, classes), _as_file(image)
        except UnusableImageError as reason:
            yield Entry(path, reason=str(reason)), b""
        else:
            yield Entry(path, class_name), data


def _until_it_fails(name: str, elements: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    n_done = 0
    try:
        for element in elements():
            yield element
            n_done += 1
    except load_tensorflow().errors.OpError as error:
        # Without the names of TensorFlow's own nodes that stand around what happened.
        what = re.sub(r"^\{\{.*?\}\} | \[Op:.*", "", str(error.message))
        raise DataError(
            f"{name}: stopped after {n_done} images: {what}. What was finished is kept: mend it, "
            "and run the same again."
        ) from error


def _as_pair(element: Pair) -> Pair:
    return element


def _class_of(label: Any, classes: Sequence[str] | None) -> str:
    if isinstance(label, bytes):
        try:
            name = checked_class(label.decode())
        except UnicodeDecodeError as error:
            raise UnusableImageError("its label is not UTF-8 text") from error
        if classes is not None and name not in classes:
            raise UnusableImageError(f"its label {name!r} is none of the classes")
        return name
    if classes is None:
        raise DataError("classes: labels are integers, so the names of the classes are needed.")
    if not 0 <= label < len(classes):
        raise UnusableImageError(f"its label {label} is not in 0 to {len(classes) - 1}")
    return str(classes[label])


def _as_file(image: Any) -> bytes:
    """The bytes of an image file; pixels become a BMP file, which keeps them as they are."""
    if isinstance(image, bytes):
        return image
    if image.shape[2:] != (CHANNELS,) or not image.size:
        raise UnusableImageError(f"expected (height, width, 3) pixels, found {image.shape}")
    file = io.BytesIO()
    Image.fromarray(image).save(file, "BMP")
    return file.getvalue()


def checked_classes(classes: Sequence[str] | NDArray[np.str_] | None) -> list[str] | None:
    """Names of classes; `DataError` for what is none, has no order, or stands twice."""
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


def _check_spec(dataset: Any, classes: Sequence[str] | None) -> None:
    """Refuse datasets of anything but single pairs of image and label."""
    tf = load_tensorflow()
    if not isinstance(dataset, tf.data.Dataset):
        raise DataError(
            f"expected {DATASET}, found {type(dataset).__name__}. Make one, such as "
            "tf.data.Dataset.from_tensor_slices((images, labels))."
        )
    spec = dataset.element_spec
    parts = spec if isinstance(spec, tuple) else (spec,)
    if len(parts) != 2 or not all(isinstance(part, tf.TensorSpec) for part in parts):
        raise DataError(
            f"expected {DATASET} of (image, label), both dense tensors; found "
            f"({', '.join(type(part).__name__ for part in parts)}). Hand over "
            "dataset.map(...) that gives those two."
        )
    image, label = parts
    if image.dtype.is_floating:
        raise DataError(
            f"expected images of uint8, found {image.dtype.name}: nobody knows whether they are "
            "0-255, 0-1 or already preprocessed for some network. Hand over uint8 (RGB, 0-255), "
            "before any scaling."
        )
    n_axes = {tf.uint8: 3, tf.string: 0}.get(image.dtype)
    if n_axes is None or image.shape.rank not in (n_axes, None):
        raise DataError(
            f"expected images of uint8 (height, width, 3), or scalar strings with the bytes of "
            f"image files; found {image}. {UNBATCH}"
        )
    if not (label.dtype.is_integer or label.dtype == tf.string) or label.shape.rank not in (
        0,
        None,
    ):
        raise DataError(
            f"expected labels that are single integers or strings, found {label}. {UNBATCH}"
        )
    if label.dtype.is_integer and classes is None:
        raise DataError("classes: labels are integers, so the names of the classes are needed.")
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise DataError("expected a dataset that ends, found one that repeats for ever (repeat).")
