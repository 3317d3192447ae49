"""A page of what spoke for the predicted classes of image files."""

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path

from headbench.classify.deployment.classifier import Classifier
from headbench.classify.deployment.prediction import Prediction
from headbench.classify.errors import RunError
from headbench.classify.inspection.explanation import WORDS, Explainer
from headbench.classify.report.image_page import write_image_page
from headbench.classify.report.photographs import Card, Gallery, as_address
from headbench.classify.wording import count
from headbench.extract.errors import UnusableImageError
from headbench.extract.images.stream import ImageFile, decode_file
from headbench.extract.settings import Runtime
from headbench.extract.sources.folder import printable
from headbench.extract.stopwatch import Stopwatch

LOG = logging.getLogger(__name__)

MOST_IMAGES = 200
WHAT = (
    "The photograph as the network takes it, what in it spoke for the predicted class, and what "
    "for another: the true one, or the next probable one. Orange parts spoke for it; both pictures "
    "have one scale."
)


def explained(
    predictions: Iterator[Prediction], classifier: Classifier, runtime: Runtime, page: Path
) -> Iterator[Prediction]:
    """Pass predictions on, and write what spoke for the classes of the first `MOST_IMAGES`.

    The page is there once all predictions were taken.

    Raises
    ------
    RunError
        If the name of the page does not end in ``.html``: it could be that of an image.
    StorageError
        If it cannot be written.
    """
    if page.suffix != ".html":
        raise RunError(f"{page}: expected the name of a page with --explain, such as why.html.")
    explainer, n_usable, rows = Explainer(classifier, runtime), 0, itertools.count(-1, -1)
    galleries: list[Gallery] = []
    pictures: dict[int, str] = {}
    for each in predictions:
        n_usable += not each.reason
        if not each.reason and len(galleries) < MOST_IMAGES:
            shown = _pictures(each, explainer)
            cards = [Card(next(rows), (caption,)) for caption in shown]
            pictures |= {
                card.row: url for card, url in zip(cards, shown.values(), strict=True) if url
            }
            note = f"true: {each.true}" if each.true else ""
            galleries.append(Gallery(printable(str(each.path)), note, cards))
        yield each
    n_shown = len(galleries)
    notes = [
        f"{WHAT} {WORDS[explainer.method]}",
        f"Head {classifier.name}, weights {classifier.weights}.",
        f"The first {n_shown} of {n_usable} images are shown." if n_shown < n_usable else "",
    ]
    write_image_page(page, "What spoke for these classes?", notes, galleries, None, pictures)
    LOG.info(f"{page}: what spoke for the classes of {count(n_shown, 'image')}")


def _pictures(prediction: Prediction, explainer: Explainer) -> dict[str, str]:
    """The image, and what spoke for two classes, by caption; the reason if there is no picture."""
    classes = explainer.classifier.classes
    image = decode_file(ImageFile(prediction.path), explainer.classifier.resizing, Stopwatch())
    if isinstance(image, UnusableImageError):
        return {str(image): ""}
    first, *others = (name for name, _ in prediction.top[:2])
    if prediction.true in classes and prediction.true != first:
        others = [prediction.true]
    named = [first, *others]
    made = explainer.pictures(image, [classes.index(name) for name in named])
    known = {name: f" ({proba:.2f})" for name, proba in prediction.top}
    captions = [f"for {name}{known.get(name, '')}" for name in named]
    return dict(zip(["image", *captions], map(as_address, [image, *made]), strict=True))
