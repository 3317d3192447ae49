"""How right each trained head is: on val, and on a sample of train."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cache.reader import FeatureFile
from classify.errors import RunError
from classify.heads.registry import load_trained_head
from classify.intervals import Estimate
from classify.metrics import accuracy
from classify.run import Run, Trained, is_finetuned
from classify.train import class_proba

PRIOR, KNN, CENTROID = "Prior", "KNN", "Centroid"
MOST_TRAIN_ROWS = 3000


@dataclass(frozen=True)
class TrainSample:
    """Some images of train, all where there are few.

    Attributes
    ----------
    X : float32 (n, dim)
    y : int32 (n,)
    n_train : int
        How many there are in all.
    """

    X: NDArray[np.float32]
    y: NDArray[np.int32]
    n_train: int

    @classmethod
    def of(cls, features: FeatureFile) -> "TrainSample":
        """Spread evenly over train, so that it holds all classes alike."""
        rows = features.rows("train")
        n = min(len(rows), MOST_TRAIN_ROWS)
        chosen = rows[np.linspace(0, len(rows) - 1, n).round().astype(np.intp)]
        return cls(features.read(chosen), features.table.labels[chosen], len(rows))


@dataclass(frozen=True)
class Scored:
    """A head and what it got right.

    Attributes
    ----------
    name : str
    kind : str
        Class of the head, such as ``LogReg``; ``network`` for a fine-tuned one.
    y_val : int32 (n_val,)
    predicted : intp (n_val,)
    val : Estimate
        Top-1 accuracy.
    train : Estimate or None
        The same on the sample of train; None for a fine-tuned network, which would have to be run
        on the images.
    """

    name: str
    kind: str
    y_val: NDArray[np.int32]
    predicted: NDArray[np.intp]
    val: Estimate
    train: Estimate | None

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """Whether it has each image of val right, bool (n_val,)."""
        return np.asarray(self.predicted == self.y_val)

    @property
    def looks(self) -> bool:
        """Whether it looks at the image at all: `prior` does not."""
        return self.kind != PRIOR


def score_heads(
    run: Run, features: FeatureFile, sample: TrainSample, say: Callable[[str], None]
) -> Iterator[Scored | RunError]:
    """Score all that was trained in a run, or say why it cannot be.

    Parameters
    ----------
    run : Run
    features : FeatureFile
    sample : TrainSample
    say : callable
        Told of each head.
    """
    y_val = features.labels("val")
    for name in run.names:
        say(f"{name}: val and {len(sample.y)} images of train")
        try:
            yield _score(run.find(name, features), y_val, sample)
        except RunError as error:
            yield error


def chance(y_train: NDArray[np.int32], y_val: NDArray[np.int32], n_classes: int) -> float:
    """What one gets on val without looking: always the class that train has most of, or a guess."""
    most_common = np.bincount(y_train, minlength=n_classes).argmax()
    return max(float((y_val == most_common).mean()), 1 / n_classes)


def _score(trained: Trained, y_val: NDArray[np.int32], sample: TrainSample) -> Scored:
    record = trained.record
    is_network = is_finetuned(record.name)
    return Scored(
        name=record.name,
        kind="network" if is_network else str(record.settings.get("kind")),
        y_val=y_val,
        predicted=trained.val.argmax(axis=1),
        val=accuracy(y_val, trained.val),
        train=None if is_network else _accuracy_on(sample, trained),
    )


def _accuracy_on(sample: TrainSample, trained: Trained) -> Estimate:
    head = load_trained_head(trained)
    proba = class_proba(head, sample.X, len(trained.record.classes))
    return accuracy(sample.y, proba)
