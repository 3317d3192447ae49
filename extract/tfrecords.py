"""Features of TFRecord files of encoded images: for Python, not for the command line."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.format import Table
from extract.errors import DataError, UnusableImageError
from extract.keras_runtime import load_tensorflow
from extract.settings import ExtractSettings
from extract.sources.read_once import TFRECORD, ReadOnce
from extract.sources.shards import expand_braces
from extract.stage import extract_features
from extract.tensors import Pair, checked_classes, streamed

MOST_NAMED = 5


def extract_tfrecords(
    paths: str | Path | Sequence[str | Path],
    classes: Sequence[str] | NDArray[np.str_] | None,
    out: str | Path,
    settings: ExtractSettings,
    say: Callable[[str], None],
    image: str = "image/encoded",
    label: str = "image/class/label",
    compression: str = "",
) -> Table:
    """Make a feature file of TFRecord files, whose records are ``tf.train.Example``.

    They are read once, in order; all else is as `extract.tensors.extract_dataset` has it.

    Parameters
    ----------
    paths : path-like, or sequence of them
        Read in this order; ``train-{00000..00099}-of-00100`` is expanded.
    classes : sequence or array of str, or None
        Some writers number classes from 1: begin with a name for 0 then.
    image, label : str
        Names of the features that hold the bytes of an image file, and an integer or a name.
    compression : {"", "GZIP", "ZLIB"}
    out, settings, say
        See `extract.tensors.extract_dataset`, for what is returned and raised, too.
    """
    class_names = checked_classes(classes)
    files = _expand(paths)
    name = files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
    records = load_tensorflow().data.TFRecordDataset(files, compression)
    as_pair = partial(_parse, image=image, label=label)
    images = partial(streamed, name, records.as_numpy_iterator, as_pair, class_names)
    source = ReadOnce(name, TFRECORD, class_names or (), images)
    return extract_features(source, Path(out), settings, say)


def _parse(record: bytes, image: str, label: str) -> Pair:
    """Image and label of a serialised ``tf.train.Example``."""
    try:
        features = load_tensorflow().train.Example.FromString(record).features.feature
    except Exception as error:  # protobuf has errors of its own
        raise UnusableImageError("not a tf.train.Example") from error
    data = _value(features, image)
    if not isinstance(data, bytes):
        raise UnusableImageError(f"expected the bytes of an image file in the feature {image}")
    return data, _value(features, label)


def _value(features: Any, name: str) -> bytes | int:
    """The one value of a feature; `UnusableImageError` if there is not one."""
    kind = features[name].WhichOneof("kind") if name in features else None
    values: Sequence[Any] = getattr(features[name], kind).value if kind else ()
    if len(values) != 1 or isinstance(values[0], float):
        there = ", ".join(sorted(features)[:MOST_NAMED])
        raise UnusableImageError(
            f"expected one integer or string in the feature {name}; there are {there}"
        )
    found: bytes | int = values[0]
    return found


def _expand(paths: str | Path | Sequence[str | Path]) -> list[str]:
    listed = [paths] if isinstance(paths, str | Path) else paths
    files = [name for each in listed for name in expand_braces(str(each))]
    exists = load_tensorflow().io.gfile.exists
    missing = [name for name in files if not exists(name)]
    if missing or not files:
        raise DataError(
            f"expected {len(files)} TFRecord files, of which {len(missing)} are not there: "
            f"{', '.join(missing[:MOST_NAMED])}."
        )
    return files
