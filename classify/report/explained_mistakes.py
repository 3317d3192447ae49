"""What spoke for the predicted and for the true class of mistakes, kept for later reports."""

import hashlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from headbench.cache.disk import replace_texts
from headbench.cache.progress import Progress
from headbench.cache.untrusted import open_regular, read_json
from headbench.classify.checked import check_fields, json_text
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
    pictures : dict of int to list of (str, str)
        By row of the feature file: the predicted and the true class, and for each the picture as a
        ``data:`` URL. Without rows that were never explained.
    method : str
        How, in a sentence; empty if there are none.
    """

    pictures: dict[int, list[tuple[str, str]]]
    method: str


class Kept(NamedTuple):
    """``explained/HEAD.json`` of a run.

    Attributes
    ----------
    method : str
        A key of `WORDS`; empty if there are no pictures.
    pictures : mapping of str to sequence of str
        By all that decides them: for the predicted and the true class, as ``data:`` URLs.
    """

    method: str
    pictures: Mapping[str, Sequence[str]]


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
    head, contents = _digest(opened), table.contents()
    keys = {row: f"{head} {contents[row].hex()} {labels[row]} {size_px} px" for row in shown}
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
                made = explainer.pictures(image, labels[row], size_px)
                pictures[keys[row]], method = list(map(as_address, made)), explainer.method
                # After each: some methods take seconds for an image.
                replace_texts(path.parent, {path.name: json_text(Kept(method, pictures)._asdict())})
                progress.update()
        seconds = time.monotonic() - started
        LOG.info(f"{len(missing)} mistakes explained in {seconds:.0f} s; kept in {path}")
    names = {row: [opened.features.classes[label] for label in labels[row]] for row in shown}
    ready = {
        row: list(zip(names[row], pictures[key], strict=True))
        for row, key in keys.items()
        if key in pictures
    }
    return Explained(ready, WORDS[method] if ready else "")


def _digest(opened: OpenedRun) -> str:
    """Of all that decides a picture, except the image, its size and the classes."""
    shown = opened.shown
    digest = hashlib.sha256(f"{VERSION} {opened.features.identity.fingerprint}".encode())
    digest.update("\0".join(shown.record.classes).encode())
    for path in shown.model_files:
        with loading(path), open_regular(path) as file:
            name = path.relative_to(shown.folder).as_posix()
            digest.update(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}".encode())
    return digest.hexdigest()


def _read(path: Path) -> Kept:
    """What is kept; of a damaged file nothing, with a note."""
    if not path.exists():
        return Kept("", {})
    try:
        with loading(path, "Its pictures are made again by --explain."):
            raw = read_json(path)
            check_fields(Kept, raw)
            kept = Kept(**raw)
            pairs = kept.pictures.values()
            are_pairs = all(len(pair) == 2 for pair in pairs)
            are_pictures = all(each.startswith("data:image/") for pair in pairs for each in pair)
            if kept.method not in WORDS or not (are_pairs and are_pictures):
                raise ValueError("not as it was written")
            return kept
    except RunError as error:
        LOG.info(f"note: {error}")
        return Kept("", {})
