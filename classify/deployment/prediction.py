"""Classes and probabilities for new image files, in the order given and in bounded memory."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.classify.deployment.classifier import Classifier
from headbench.classify.deployment.stored_embeddings import StoredEmbeddings, for_each_file
from headbench.classify.deployment.uncertainty import Doubt, Uncertainty
from headbench.extract.images.stream import ImageFile
from headbench.extract.settings import Runtime


class Prediction(NamedTuple):
    """The most probable classes of one file, or why it cannot be used.

    Attributes
    ----------
    top : tuple of (str, float)
        Class names and probabilities, the most probable first; empty if the file cannot be used.
    reason : str or None
        Why it cannot be used.
    true : str or None
        Its class, if that is known; the model may not know this class.
    is_abstained : bool
        Whether the top probability is too small for an answer.
    doubt : Doubt
        Whether it looks like none of the classes, and which classes are possible.
    """

    path: Path
    top: tuple[tuple[str, float], ...]
    reason: str | None = None
    true: str | None = None
    is_abstained: bool = False
    doubt: Doubt = Doubt()

    @property
    def label(self) -> str | None:
        """The most probable class; None if the file cannot be used or there is no answer."""
        return self.top[0][0] if self.top and not self.is_abstained else None


def predict_files(
    classifier: Classifier,
    paths: Sequence[Path],
    n_top: int,
    runtime: Runtime = Runtime(),  # noqa: B008, it is frozen
    truth: Mapping[Path, str] | None = None,
    min_confidence: float = 0.0,
    uncertainty: Uncertainty = Uncertainty(),  # noqa: B008, it is immutable
    stored: StoredEmbeddings | None = None,
    contents: Mapping[Path, bytes] | None = None,
) -> Iterator[Prediction]:
    """Classify image files.

    Parameters
    ----------
    n_top : int
        Number of classes for each file.
    truth : mapping of Path to str, optional
        True classes of some files.
    min_confidence : float
        No answer is given if the top probability, 0 to 1, is below this.
    uncertainty : Uncertainty
        How predictions are doubted: see `open_uncertainty`; by default they are not.
    stored : StoredEmbeddings, optional
        Embeddings that need not be computed; a fine-tuned network uses none.
    contents : mapping of Path to bytes, optional
        The SHA-256 of some files. If their embedding is stored, they are not read.

    Yields
    ------
    Prediction
        One for each file, in the order given.

    Raises
    ------
    RunError, WeightsError, DeviceError
    """
    truth, contents = truth or {}, contents or {}
    if stored is None or classifier.head is None:
        stored = StoredEmbeddings(classifier.identity)
    files = [ImageFile(path, contents.get(path)) for path in paths]

    def predicted(rows: list[int], outputs: NDArray[np.float32]) -> Iterator[Prediction]:
        probas = classifier.proba(outputs)
        doubts = uncertainty.of(outputs, probas, classifier.classes)
        for row, proba, doubt in zip(rows, probas, doubts, strict=True):
            top = top_classes(proba, classifier.classes, n_top)
            is_abstained = top[0][1] < min_confidence
            yield Prediction(paths[row], top, None, truth.get(paths[row]), is_abstained, doubt)

    def unusable(row: int, reason: str) -> Prediction:
        return Prediction(paths[row], (), reason, truth.get(paths[row]))

    yield from for_each_file(
        lambda: classifier.network, files, stored, runtime, predicted, unusable
    )


def top_classes(
    proba: NDArray[np.float32], classes: Sequence[str], n_top: int
) -> tuple[tuple[str, float], ...]:
    """The most probable classes and their probabilities, of float32 (n_classes,)."""
    order = np.argsort(-proba, kind="stable")[:n_top]
    return tuple((classes[label], float(proba[label])) for label in order)
