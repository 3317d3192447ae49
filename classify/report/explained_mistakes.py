"""What spoke for the predicted and for the true class of mistakes: maps, kept for later reports."""

import hashlib
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.cache.disk import one_writer, replacing
from headbench.cache.progress import Progress
from headbench.cache.untrusted import open_regular
from headbench.classify.arrays import save_arrays
from headbench.classify.checked import load_numbers
from headbench.classify.deployment.classifier import open_classifier
from headbench.classify.errors import RunError, loading
from headbench.classify.inspection.explanation import WORDS, Explainer, tinted
from headbench.classify.report.opened_run import OpenedRun
from headbench.classify.report.photographs import Thumbnails, as_address
from headbench.extract.images.resizing import resizing_of
from headbench.extract.settings import Runtime

LOG = logging.getLogger(__name__)

# Raise it when maps change.
VERSION = 1
LARGEST_SIDE = 1 << 10
# Maps are kept each time so many images are explained.
SAVED_EVERY = 16
# Content of an image, and the label of a class.
Key = tuple[bytes, int]


@dataclass(frozen=True)
class Explained:
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


@dataclass
class KeptMaps:
    """Maps of one head in ``explained/HEAD.npz`` of a run, by content and class.

    Attributes
    ----------
    digest : str
        Of all that decides a map, except the image and the class. Maps of another one are dropped.
    """

    path: Path
    digest: str
    method: str = ""
    maps: dict[Key, NDArray[np.float32]] = field(default_factory=dict)

    @classmethod
    def of(cls, opened: OpenedRun) -> "KeptMaps":
        """The maps that are kept for the head that is shown."""
        shown = opened.shown
        digest = hashlib.sha256(f"{VERSION} {opened.features.identity.fingerprint}".encode())
        digest.update("\0".join(shown.record.classes).encode())
        for path in shown.model_files:
            with loading(path), open_regular(path) as file:
                name = path.relative_to(shown.folder).as_posix()
                digest.update(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}".encode())
        path = opened.run.folder / "explained" / f"{shown.record.name}.npz"
        kept = cls(path, digest.hexdigest())
        if path.exists():
            try:
                with loading(path, "Its maps are made again by --explain."):
                    kept._load()
            except RunError as error:
                LOG.info(f"note: {error}")
        return kept

    def _load(self) -> None:
        found = load_numbers(self.path)
        contents, labels, maps = (found[name] for name in ("contents", "labels", "maps"))
        n, method = len(maps), str(found["method"])
        if maps.ndim != 3 or max(maps.shape[1:]) > LARGEST_SIDE or method not in WORDS:
            raise ValueError("not as it was written")
        if contents.shape != (n, 32) or contents.dtype != np.uint8 or labels.shape != (n,):
            raise ValueError("not as it was written")
        if str(found["digest"]) == self.digest:
            keys = zip((each.tobytes() for each in contents), labels.tolist(), strict=True)
            self.method = method
            self.maps = dict(zip(keys, maps.astype(np.float32), strict=True))

    def has(self, keys: Iterable[Key]) -> bool:
        """Whether all these maps are there."""
        return all(key in self.maps for key in keys)

    def save(self) -> None:
        """Replace the file."""
        contents = np.frombuffer(b"".join(key[0] for key in self.maps), np.uint8).reshape(-1, 32)
        arrays: dict[str, NDArray[Any]] = {
            "digest": np.array(self.digest),
            "method": np.array(self.method),
            "contents": contents,
            "labels": np.array([label for _, label in self.maps], dtype=np.int32),
            "maps": np.stack([*self.maps.values()]),
        }
        with one_writer(self.path), replacing(self.path) as temporary:
            save_arrays(temporary, arrays)


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
        Misclassified images of test.
    thumbnails : Thumbnails
        Finds the images; without those that it could not show before.
    size_px : int
        Height and width of the pictures.
    weights : str or None
        The network's weights, if they were moved.
    is_asked : bool
        Whether maps that are not kept are made, for which the network is loaded.
    """
    given = dict(zip(opened.features.rows("test").tolist(), opened.shown.test, strict=True))
    shown, truth = sorted(set(rows) - thumbnails.missing.keys()), opened.features.table.labels
    labels = {row: (int(given[row].argmax()), int(truth[row])) for row in shown}
    contents = opened.features.table.contents()
    keys = {row: [(contents[row], label) for label in labels[row]] for row in shown}
    kept, resizing = KeptMaps.of(opened), resizing_of(opened.features.identity)
    missing = [row for row in shown if not kept.has(keys[row])]
    if is_asked and missing:
        started = time.monotonic()
        explainer = Explainer(
            open_classifier(opened.run, opened.shown.record.name, weights), Runtime()
        )
        with Progress("explain", len(missing)) as progress:
            for n_done, (row, image, _) in enumerate(thumbnails.decoded(missing, resizing), 1):
                kept.maps |= zip(keys[row], explainer.maps(image, labels[row]), strict=True)
                kept.method = explainer.method
                if n_done % SAVED_EVERY == 0 or n_done == len(missing):
                    kept.save()
                progress.update()
        seconds = time.monotonic() - started
        LOG.info(f"{len(missing)} mistakes explained in {seconds:.0f} s; kept in {kept.path}")
    ready = [row for row in shown if kept.has(keys[row])]
    pictures = {}
    for row, image, _ in thumbnails.decoded(ready, resizing):
        made = tinted(image, np.stack([kept.maps[key] for key in keys[row]]), size_px)
        names = (opened.features.classes[label] for label in labels[row])
        pictures[row] = list(zip(names, map(as_address, made), strict=True))
    return Explained(pictures, WORDS[kept.method] if pictures else "")
