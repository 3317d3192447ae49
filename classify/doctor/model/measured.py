"""What a model answers under each scaling of pixels, in inference and by the batch."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from classify.doctor.chance import is_chance, may_be_chance
from classify.doctor.finding import Grid
from classify.doctor.model.sample import Sample
from classify.intervals import Comparison, Estimate, compare_right, wilson
from classify.wording import percent
from extract.batch_statistics import batch_statistics
from extract.keras_runtime import load_tensorflow
from extract.scalings import SCALINGS, Scaling

# Of pairs out of twelve numbers some differ by chance.
SIGNIFICANT = 0.01


class Condition(NamedTuple):
    """How the model is run.

    Attributes
    ----------
    scaling : str
        A name of `SCALINGS`.
    by_batch : bool
        Whether layers that do so in training normalise by the batch.
    """

    scaling: str
    by_batch: bool


@dataclass(frozen=True)
class Measured:
    """Answers to one sample.

    Attributes
    ----------
    sample : Sample
    outputs : mapping of Condition to float32 (n, n_classes)
    """

    sample: Sample
    outputs: Mapping[Condition, NDArray[np.float32]]

    def answers(self, condition: Condition) -> NDArray[np.int64]:
        """The class that each image is given, int64 (n,)."""
        answers: NDArray[np.int64] = self.outputs[condition].argmax(axis=1)
        return answers

    def is_right(self, condition: Condition) -> NDArray[np.bool_]:
        """Whether each answer is right, bool (n,)."""
        return np.equal(self.answers(condition), self.sample.labels)

    def accuracy(self, condition: Condition) -> Estimate:
        """Top-1 with Wilson's interval."""
        right = self.is_right(condition)
        return wilson(int(right.sum()), len(right))

    def best(self, by_batch: bool | None = None) -> Condition:
        """Under which the most answers are right; in one mode, or in any."""
        wanted = [each for each in self.outputs if by_batch in (None, each.by_batch)]
        return max(wanted, key=lambda each: int(self.is_right(each).sum()))

    def compare(self, first: Condition, second: Condition) -> Comparison:
        """Accuracy under the first minus that under the second, paired."""
        [found] = compare_right({"first": self.is_right(first), "second": self.is_right(second)})
        return found

    def is_better(self, first: Condition, second: Condition) -> bool:
        """Whether the first is better by more than chance would have it."""
        found = self.compare(first, second)
        return found.difference.low > 0 and found.p < SIGNIFICANT

    def is_at_chance(self, condition: Condition) -> bool:
        """Whether always guessing the most frequent class does about as well."""
        return is_chance(self.accuracy(condition), self.sample.largest_share)

    def is_open(self, condition: Condition) -> bool:
        """Whether the images are too few to say if it does."""
        accuracy, level = self.accuracy(condition), self.sample.largest_share
        return may_be_chance(accuracy, level) and not is_chance(accuracy, level)

    def grid(self) -> Grid:
        """Accuracy under each condition."""
        modes = sorted({each.by_batch for each in self.outputs})
        titles = {False: "in inference", True: "by the batch, as in training"}
        return Grid(
            ("pixels", *(titles[mode] for mode in modes)),
            tuple(
                (name, *(percent(self.accuracy(Condition(name, mode))) for mode in modes))
                for name in SCALINGS
            ),
        )


def measure(model: Any, sample: Sample, by_batch: Iterable[Any], batch_size: int) -> Measured:
    """Run a model on a sample under each scaling of `SCALINGS`.

    Parameters
    ----------
    model : keras.Model
        Takes float images (n, height, width, 3), gives (n, n_outputs).
    sample : Sample
    by_batch : iterable of keras.layers.BatchNormalization
        Those that normalise by the batch in training; with none of them that mode is left out.
    batch_size : int
    """
    layers = list(by_batch)
    modes: dict[bool, AbstractContextManager[None]] = {False: nullcontext()}
    if layers:
        modes[True] = batch_statistics(layers)
    outputs = {}
    for mode, context in modes.items():
        with context:
            infer = _compiled(model, sample.images.shape[1:])
            for name, scaling in SCALINGS.items():
                answered = [infer(some) for some in _batches(sample.images, scaling, batch_size)]
                outputs[Condition(name, mode)] = _by_class(np.concatenate(answered))
    return Measured(sample, outputs)


def _compiled(model: Any, shape: tuple[int, ...]) -> Any:
    tf = load_tensorflow()

    @tf.function(input_signature=[tf.TensorSpec((None, *shape), tf.float32)])  # type: ignore[untyped-decorator]
    def infer(images: Any) -> Any:
        return model(images, training=False)

    return lambda images: infer(tf.constant(images)).numpy()


def _by_class(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """A column for each class, where one output tells two of them apart."""
    if outputs.shape[1] > 1:
        return outputs
    is_proba = outputs.min() >= 0 and outputs.max() <= 1
    return np.hstack([1 - outputs, outputs] if is_proba else [-outputs, outputs])


def _batches(
    images: NDArray[np.uint8], scaling: Scaling, batch_size: int
) -> Iterator[NDArray[np.float32]]:
    # Of about the same size each: the statistics of a small rest would be others.
    n_batches = max(1, round(len(images) / batch_size))
    return (scaling(some) for some in np.array_split(images, n_batches))
