"""Accuracy of a model with each scaling of pixels, in inference and with batch statistics."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.cache.progress import Progress
from headbench.classify.doctor.chance import halves, has_learnt, is_chance, may_be_chance
from headbench.classify.doctor.finding import Grid
from headbench.classify.doctor.model.anatomy import batch_statistics
from headbench.classify.doctor.scalings import BGR_SCALINGS, SCALINGS, Scaling, twin
from headbench.classify.intervals import Comparison, Estimate, compare_right, mcnemar, wilson
from headbench.classify.wording import percent
from headbench.extract.errors import DataError, UnusableImageError
from headbench.extract.images.stream import ImageFile, decoded_images
from headbench.extract.networks.keras_runtime import load_tensorflow
from headbench.extract.sources.folder import Folder, image_path
from headbench.extract.sources.open import find_images
from headbench.extract.sources.source import LabelledImage
from headbench.extract.stopwatch import Stopwatch

N_IMAGES = 200
SEED = 0
# Of pairs out of twelve numbers some differ by chance.
SIGNIFICANT = 0.01
# Of all conditions together.
OF_ALL = 0.05


class Sample(NamedTuple):
    """Decoded images with their labels.

    Attributes
    ----------
    images : uint8 (n, height, width, 3)
        RGB, 0-255.
    labels : int64 (n,)
        Indices into `classes`.
    classes
        All classes of the folder, sorted, as Keras numbers them.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    paths: list[Path]

    @property
    def largest_share(self) -> float:
        """Accuracy of always predicting the most frequent class."""
        return float(np.bincount(self.labels).max() / len(self.labels))


class Condition(NamedTuple):
    """How a model is run: a name in `SCALINGS`, and whether it uses batch statistics."""

    scaling: str
    by_batch: bool


@dataclass(frozen=True)
class Measured:
    """Outputs for one sample under each condition, float32 (n, n_classes)."""

    sample: Sample
    outputs: Mapping[Condition, NDArray[np.float32]]

    def answers(self, condition: Condition) -> NDArray[np.int64]:
        """The class predicted for each image, int64 (n,)."""
        answers: NDArray[np.int64] = self.outputs[condition].argmax(axis=1)
        return answers

    def is_right(self, condition: Condition) -> NDArray[np.bool_]:
        """Whether each image is correctly classified, bool (n,)."""
        return np.equal(self.answers(condition), self.sample.labels)

    def accuracy(self, condition: Condition) -> Estimate:
        """Accuracy with Wilson's interval."""
        right = self.is_right(condition)
        return wilson(int(right.sum()), len(right))

    def conditions(self, by_batch: bool | None = None) -> list[Condition]:
        """All conditions of one mode, or of both."""
        return [each for each in self.outputs if by_batch in (None, each.by_batch)]

    def best(self, by_batch: bool | None = None) -> Condition:
        """The condition with the best accuracy, in one mode or in both."""
        return self._best_of(self.conditions(by_batch), slice(None))

    def _best_of(self, among: list[Condition], images: NDArray[np.bool_] | slice) -> Condition:
        return max(among, key=lambda each: int(self.is_right(each)[images].sum()))

    def best_elsewhere(self, by_batch: bool | None = None) -> NDArray[np.bool_]:
        """Whether each image is correct under the best condition of the other half, bool (n,).

        On the images that it was chosen on, the best of many conditions looks better than it is.
        """
        is_right = np.empty(len(self.sample.labels), dtype=bool)
        for chosen_on, measured in halves(self.sample.labels):
            best = self._best_of(self.conditions(by_batch), chosen_on)
            is_right[measured] = self.is_right(best)[measured]
        return is_right

    def is_beaten(self, own: Condition) -> bool:
        """Whether another condition of the same mode is clearly better, and better than chance.

        It is measured on images that it was not chosen on, with a correction for the number of
        conditions.
        """
        chosen = self.best_elsewhere(own.by_batch)
        reached = wilson(int(chosen.sum()), len(chosen))
        is_sure = _is_better(chosen, self.is_right(own), OF_ALL / len(self.outputs))
        return is_sure and self.is_useful(reached)

    def is_useful(self, accuracy: Estimate) -> bool:
        """Whether an accuracy shows that the model has learnt something."""
        return has_learnt(accuracy, self.sample.largest_share)

    @property
    def has_learnt_nothing(self) -> bool:
        """Whether the model is at chance under every condition."""
        chosen = self.best_elsewhere()
        reached = wilson(int(chosen.sum()), len(chosen))
        return is_chance(reached, self.sample.largest_share)

    def compare(self, first: Condition, second: Condition) -> Comparison:
        """Accuracy under the first minus that under the second, paired."""
        [found] = compare_right({"first": self.is_right(first), "second": self.is_right(second)})
        return found

    def is_better(self, first: Condition, second: Condition) -> bool:
        """Whether the first is significantly better."""
        return _is_better(self.is_right(first), self.is_right(second), SIGNIFICANT)

    def is_at_chance(self, condition: Condition) -> bool:
        """Whether the accuracy is about that of always predicting the most frequent class."""
        return is_chance(self.accuracy(condition), self.sample.largest_share)

    def is_open(self, condition: Condition) -> bool:
        """Whether there are too few images to tell the accuracy from chance."""
        accuracy, level = self.accuracy(condition), self.sample.largest_share
        return may_be_chance(accuracy, level) and not is_chance(accuracy, level)

    def grid(self) -> Grid:
        """Accuracy under each condition."""
        modes = sorted({each.by_batch for each in self.outputs})
        titles = {False: "in inference", True: "with batch statistics, as in training"}
        return Grid(
            ("pixels", *(titles[mode] for mode in modes)),
            tuple(
                (name, *(percent(self.accuracy(Condition(name, mode))) for mode in modes))
                for name in dict.fromkeys(each.scaling for each in self.outputs)
            ),
        )


def _is_better(first: NDArray[np.bool_], second: NDArray[np.bool_], level: float) -> bool:
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    return only_first > only_second and mcnemar(only_first, only_second) < level


Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def runs_under(
    model: Any, scalings: Collection[Scaling], by_batch: Iterable[Any], size: tuple[int, int]
) -> dict[Condition, Run]:
    """Functions that run a model on pixels, uint8 (n, height, width, 3), one for each condition.

    Neither the model nor a function changes: updates of moving statistics are discarded.

    `by_batch` are the layers that use batch statistics in training; if it is empty, that mode is
    left out. `size` is height and width.
    """
    layers = list(by_batch)
    modes = {False: _traced(model, size)}
    if layers:
        with batch_statistics(layers):
            modes[True] = _traced(model, size)
    return {
        Condition(scaling.name, mode): _after(scaling, run)
        for mode, run in modes.items()
        for scaling in scalings
    }


def _after(scaling: Scaling, run: Callable[[NDArray[np.float32]], Any]) -> Run:
    return lambda pixels: run(scaling(pixels))


def _traced(model: Any, size: tuple[int, int]) -> Callable[[NDArray[np.float32]], Any]:
    tf = load_tensorflow()
    variables = (model.trainable_variables, model.non_trainable_variables)
    weights = [[tf.identity(each.value) for each in some] for some in variables]

    def infer(weights: Any, images: Any) -> Any:
        return model.stateless_call(*weights, images, training=False)[0]

    images = tf.TensorSpec((None, *size, 3), tf.float32)
    specs = [[tf.TensorSpec(each.shape, each.dtype) for each in some] for some in weights]
    graph = tf.function(infer).get_concrete_function(specs, images)
    return lambda scaled: np.asarray(graph(weights, tf.constant(scaled)), dtype=np.float32)


def measure(
    model: Any,
    sample: Sample,
    by_batch: Iterable[Any],
    batch_size: int,
    declared: str | None = None,
) -> Measured:
    """Run a model on a sample with each of `SCALINGS`, and with the declared one.

    The best of them is also tried on BGR. See `runs_under`.
    """
    scalings = (SCALINGS | BGR_SCALINGS).values()
    runs = runs_under(model, scalings, by_batch, sample.images.shape[1:3])
    # Of about the same size each: the statistics of a small rest would be others.
    n_batches = max(1, round(len(sample.images) / batch_size))
    batches = np.array_split(sample.images, n_batches)
    n_columns = max(2, len(sample.classes), model.output_shape[-1])
    classes = [*sample.classes, *map("output {}".format, range(len(sample.classes), n_columns))]

    def answered(names: Collection[str | None]) -> dict[Condition, NDArray[np.float32]]:
        chosen = {each: run for each, run in runs.items() if each.scaling in names}
        with Progress("measure", len(chosen) * len(batches), "batches") as progress:
            return {
                condition: _by_class(
                    np.concatenate([progress.counting(run)(some) for some in batches]), n_columns
                )
                for condition, run in chosen.items()
            }

    of_sample = sample._replace(classes=tuple(classes))
    first = Measured(of_sample, answered({*SCALINGS, declared}))
    if first.best().scaling in BGR_SCALINGS:
        return first
    return Measured(of_sample, {**first.outputs, **answered({twin(first.best().scaling)})})


def _by_class(outputs: NDArray[np.float32], n_columns: int) -> NDArray[np.float32]:
    """A column for each class: two of one output, and of a class without an output the least."""
    if outputs.shape[1] == 1:
        is_proba = outputs.min() >= 0 and outputs.max() <= 1
        outputs = np.hstack([1 - outputs, outputs] if is_proba else [-outputs, outputs])
    n_missing = n_columns - outputs.shape[1]
    return np.pad(outputs, ((0, 0), (0, n_missing)), constant_values=-np.inf)


def draw_sample(root: Path, size: tuple[int, int], n_images: int = N_IMAGES) -> Sample:
    """Draw about the same number of images of each class, from val and test if there are any.

    Unusable images are left out; the checks of the data name them.

    Parameters
    ----------
    size
        Height and width, px; if they differ, the middle of a square with the longer side.

    Raises
    ------
    DataError
        If the folder is not one of labelled images, or no image drawn can be used.
    """
    dataset = find_images(Folder(root))
    held_out = [image for image in dataset.images if image.given_split in ("val", "test")]
    drawn = _draw(held_out or list(dataset.images), n_images)
    paths = [image_path(root, image.path) for image in drawn]
    files = [ImageFile(path) for path in paths]

    def leave_out(row: int, reason: UnusableImageError) -> None:
        """Named elsewhere."""

    found = list(decoded_images(files, max(size), leave_out, Stopwatch()))
    if not found:
        raise DataError(f"{root}: none of {len(drawn)} images drawn can be used.")
    rows = [image.row for image in found]
    label_of = {name: label for label, name in enumerate(dataset.classes)}
    return Sample(
        np.stack([_middle(image.image, size) for image in found]),
        np.array([label_of[drawn[row].class_name] for row in rows]),
        dataset.classes,
        [paths[row] for row in rows],
    )


def _middle(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    top, left = ((has - wanted) // 2 for has, wanted in zip(image.shape, size, strict=False))
    return image[top : top + size[0], left : left + size[1]]


def _draw(images: list[LabelledImage], n_images: int) -> list[LabelledImage]:
    """In turns of one image a class, in random order."""
    order = np.random.default_rng(SEED).permutation(len(images))
    turn: dict[str, int] = {}
    ranked = []
    for place, row in enumerate(order.tolist()):
        name = images[row].class_name
        turn[name] = turn.get(name, -1) + 1
        ranked.append((turn[name], place, row))
    return [images[row] for _, _, row in sorted(ranked)[:n_images]]
