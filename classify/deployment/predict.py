"""Classes and probabilities for new image files, as they come and in bounded memory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from classify.deployment.classifier import Classifier
from extract.errors import UnusableImageError
from extract.read import ImageFile
from extract.settings import Runtime
from extract.stopwatch import Stopwatch
from extract.stream import decoded_images


class Prediction(NamedTuple):
    """What is seen in one file.

    Attributes
    ----------
    path : Path
    top : tuple of (str, float)
        Class names and probabilities, the most probable first; empty if the file cannot be used.
    reason : str or None
        Why it cannot be used.
    true : str or None
        Its class, where that is known; perhaps one that the model does not know.
    is_abstained : bool
        Whether no class is probable enough to be the answer.
    """

    path: Path
    top: tuple[tuple[str, float], ...]
    reason: str | None = None
    true: str | None = None
    is_abstained: bool = False

    @property
    def label(self) -> str | None:
        """The answer; None where there is none."""
        return self.top[0][0] if self.top and not self.is_abstained else None


def predict_files(
    classifier: Classifier,
    paths: Sequence[Path],
    n_top: int,
    say: Callable[[str], None],
    runtime: Runtime = Runtime(),  # noqa: B008, it is frozen
    truth: Mapping[Path, str] | None = None,
    min_confidence: float = 0.0,
) -> Iterator[Prediction]:
    """Classify image files.

    Parameters
    ----------
    classifier : Classifier
    paths : sequence of Path
    n_top : int
        Classes given for each file.
    say : callable
        Told of the device, and of what does not work there.
    runtime : Runtime
        How the network is run.
    truth : mapping of Path to str, optional
        True classes of some files.
    min_confidence : float
        Below this probability, 0 to 1, the most probable class is not given as the answer.

    Yields
    ------
    Prediction
        One for each file, in the order given.

    Raises
    ------
    RunError, WeightsError, DeviceError
    """
    truth = truth or {}
    reasons: dict[int, str] = {}

    def leave_out(row: int, reason: UnusableImageError) -> None:
        reasons[row] = str(reason)

    def unusable(rows: range) -> Iterator[Prediction]:
        for row in rows:
            yield Prediction(paths[row], (), reasons.pop(row), truth.get(paths[row]))

    stopwatch = Stopwatch()
    decoded = decoded_images(map(ImageFile, paths), classifier.size_px, leave_out, stopwatch)
    n_done = 0
    for rows, probas in classifier.classify(decoded, runtime, stopwatch, say):
        for row, proba in zip(rows.tolist(), probas, strict=True):
            # Rows that are missing in between could not be used.
            yield from unusable(range(n_done, row))
            top = top_classes(proba, classifier.classes, n_top)
            is_abstained = top[0][1] < min_confidence
            yield Prediction(paths[row], top, None, truth.get(paths[row]), is_abstained)
            n_done = row + 1
    yield from unusable(range(n_done, len(paths)))


def top_classes(
    proba: NDArray[np.float32], classes: Sequence[str], n_top: int
) -> tuple[tuple[str, float], ...]:
    """The most probable classes and their probabilities, of float32 (n_classes,)."""
    order = np.argsort(-proba, kind="stable")[:n_top]
    return tuple((classes[label], float(proba[label])) for label in order)
