"""What spoke for the predicted and for the true class of mistakes, kept for later reports."""

import hashlib
import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from headbench.cache.disk import replace_texts
from headbench.cache.progress import Progress
from headbench.cache.untrusted import read_json
from headbench.classify.checked import json_text
from headbench.classify.deployment.classifier import open_classifier
from headbench.classify.errors import RunError, loading
from headbench.classify.inspection.explanation import WORDS, Explainer
from headbench.classify.report.opened_run import OpenedRun
from headbench.classify.report.photographs import Thumbnails, as_address
from headbench.extract.settings import Runtime

LOG = logging.getLogger(__name__)

# Raise it when pictures change.
VERSION = 2


class Explained(NamedTuple):
    """Pictures of what spoke for two classes.

    Attributes
    ----------
    method : str
        How they were made: a key of `WORDS`; empty if there are none.
    pictures : mapping
        By row of the feature file; in ``explained/HEAD.json`` by all that decides them. For each
        the predicted and the true class, and the picture as a ``data:`` URL.
    """

    method: str
    pictures: Mapping[Any, Mapping[str, str]]


def explain_mistakes(
    opened: OpenedRun,
    rows: Iterable[int],
    thumbnails: Thumbnails,
    size_px: int,
    weights: str | None,
    *,
    is_asked: bool,
) -> Explained:
    """Pictures of what spoke for the predicted and for the true class.

    Parameters
    ----------
    rows : iterable of int
        Misclassified images of test, of which thumbnails were made.
    thumbnails : Thumbnails
        Finds the images; without those that it could not show before.
    size_px : int
        Height and width of the pictures.
    weights : str or None
        The network's weights, if they were moved.
    is_asked : bool
        Whether pictures that are not kept are made, for which the network is loaded.
    """
    given = dict(zip(opened.features.rows("test").tolist(), opened.shown.test, strict=True))
    shown, table = sorted(set(rows) - thumbnails.missing.keys()), opened.features.table
    labels = {row: [int(given[row].argmax()), int(table.labels[row])] for row in shown}
    # A head that is trained anew has at least taken another time.
    head = f"{VERSION} {opened.shown.record}".encode() + opened.shown.test.tobytes()
    digest, contents = hashlib.sha256(head).hexdigest(), table.contents()
    keys = {row: f"{digest} {contents[row].hex()} {labels[row]} {size_px} px" for row in shown}
    path = opened.run.folder / "explained" / f"{opened.shown.record.name}.json"
    method, found = _read(path)
    # Those of a head that was trained anew, and of other mistakes, are dropped.
    pictures = {key: found[key] for key in keys.values() if key in found}
    missing = [row for row in shown if keys[row] not in pictures]
    if is_asked and missing:
        started = time.monotonic()
        classifier = open_classifier(opened.run, opened.shown.record.name, weights)
        explainer = Explainer(classifier, Runtime())
        with Progress("explain", len(missing)) as progress:
            for row, image, _ in thumbnails.decoded(missing, classifier.resizing):
                made = map(as_address, explainer.pictures(image, labels[row], size_px))
                names = (opened.features.classes[label] for label in labels[row])
                pictures[keys[row]] = dict(zip(names, made, strict=True))
                method = explainer.method
                # After each: some methods take seconds for an image.
                text = json_text(Explained(method, pictures)._asdict())
                replace_texts(path.parent, {path.name: text})
                progress.update()
        seconds = time.monotonic() - started
        LOG.info(f"{len(missing)} mistakes explained in {seconds:.0f} s; kept in {path}")
    ready = {row: pictures[key] for row, key in keys.items() if key in pictures}
    return Explained(method if ready else "", ready)


def _read(path: Path) -> Explained:
    """What is kept; of a damaged file nothing, with a note."""
    if path.exists():
        try:
            with loading(path, "Its pictures are made again by --explain."):
                raw = read_json(path)
                urls = (url for each in raw["pictures"].values() for url in each.values())
                if raw["method"] in WORDS and all(url.startswith("data:image/") for url in urls):
                    return Explained(**raw)
                raise ValueError("not as it was written")
        except RunError as error:
            LOG.info(f"note: {error}")
    return Explained("", {})
