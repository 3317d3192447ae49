"""Pictures of what spoke for the predicted classes of image files, and a page that shows them."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from headbench.cache.disk import replacing_folder
from headbench.classify.deployment.classifier import Classifier
from headbench.classify.deployment.prediction import Prediction
from headbench.classify.errors import RunError
from headbench.classify.inspection.explanation import WORDS, Explainer, tinted
from headbench.classify.report.page.render import render
from headbench.classify.report.photographs import encode
from headbench.classify.wording import count
from headbench.extract.errors import UnusableImageError
from headbench.extract.images.stream import ImageFile, decode_file
from headbench.extract.settings import Runtime
from headbench.extract.stopwatch import Stopwatch

LOG = logging.getLogger(__name__)

PAGE = "index.html"


class ExplainedFile(NamedTuple):
    """An image file on the page.

    Attributes
    ----------
    file : str
        Its picture, in the same folder: the image, then what spoke for each class.
    classes : tuple of str
        These classes.
    caption : str
        The same with their probabilities.
    """

    path: Path
    file: str
    classes: tuple[str, ...]
    caption: str


def explained(
    predictions: Iterator[Prediction], classifier: Classifier, runtime: Runtime, folder: Path
) -> Iterator[Prediction]:
    """Pass predictions on, and write what spoke for the classes of each file.

    Those are the predicted class and the true one if it is another, else the next probable one. The
    folder is there once all predictions were taken.

    Parameters
    ----------
    folder : Path
        New or empty.

    Raises
    ------
    RunError
        If there is anything in the folder.
    StorageError
        If it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(
            f"{folder}: expected a new or an empty folder, found something in it. Name another "
            "folder with --explain."
        )
    return _written(predictions, Explainer(classifier, runtime), folder)


def _written(
    predictions: Iterator[Prediction], explainer: Explainer, folder: Path
) -> Iterator[Prediction]:
    files: list[ExplainedFile] = []
    with replacing_folder(folder) as temporary:
        for each in predictions:
            classes = () if each.reason else _classes(each, explainer.classifier)
            picture = _picture(each.path, explainer, classes)
            if picture is not None:
                name = f"{len(files) + 1:06}.webp"
                (temporary / name).write_bytes(picture)
                files.append(ExplainedFile(each.path, name, classes, _caption(each, classes)))
            yield each
        page = render(
            "explained.html",
            title="What spoke for these classes?",
            data={},
            head=explainer.classifier.name,
            weights=explainer.classifier.weights,
            has_random_weights=explainer.classifier.identity.has_random_weights,
            method=WORDS[explainer.method],
            files=files,
        )
        (temporary / PAGE).write_text(page, "utf-8", newline="\n")
    LOG.info(f"{folder / PAGE}: what spoke for the classes of {count(len(files), 'image')}")


def _classes(prediction: Prediction, classifier: Classifier) -> tuple[str, ...]:
    first, *others = (name for name, _ in prediction.top[:2])
    if prediction.true in classifier.classes and prediction.true != first:
        others = [prediction.true]
    return first, *others


def _picture(path: Path, explainer: Explainer, classes: Sequence[str]) -> bytes | None:
    """The picture of a file as bytes; None without classes, or if it cannot be used by now."""
    if not classes:
        return None
    image = decode_file(ImageFile(path), explainer.classifier.resizing, Stopwatch())
    if isinstance(image, UnusableImageError):
        return None
    labels = [explainer.classifier.classes.index(each) for each in classes]
    return encode(np.hstack([image, *tinted(image, explainer.maps(image, labels))]))


def _caption(prediction: Prediction, classes: Sequence[str]) -> str:
    known = {name: f" ({proba:.2f})" for name, proba in prediction.top}
    parts = [f"for {each}{known.get(each, '')}" for each in classes]
    return "; ".join(parts + ([f"true: {prediction.true}"] if prediction.true else []))
