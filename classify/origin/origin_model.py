"""The original model, and its epochs as Keras 2.2 printed them."""

import hashlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.classify.doctor.model.anatomy import batch_norms
from headbench.classify.doctor.scalings import Scaling
from headbench.classify.heads.curves import train_epoch, train_metrics
from headbench.classify.metrics import mean_log_loss, top_shares
from headbench.classify.origin.origin_images import LEARNING_RATE, Images
from headbench.extract.errors import DataError, UnusableImageError
from headbench.extract.images.stream import image_batches
from headbench.extract.networks.keras_runtime import load_keras, load_tensorflow

DROPOUTS, WIDTH = (0.2, 0.5), 512
LOG = logging.getLogger(__name__)
# Below this Keras 2.2 printed powers of ten.
SMALLEST_PLAIN = 1e-3
EPOCH_TITLES = ("epoch", "seconds", "loss", "acc", "top-5", "val loss", "val acc", "val top-5")
Batch = tuple[NDArray[np.float32], NDArray[np.int32]]


def freeze_as_keras_2_2(base: Any) -> None:
    """Freeze a network as ``trainable = False`` did in Keras 2.2.

    Weights and moving statistics stayed the same, but in training BatchNormalization still used
    batch statistics. In Keras 3 only a trainable layer does that. So the layer is trainable, its
    weights are not, and a momentum of 1 keeps its moving statistics.
    """
    base.trainable = False
    for layer in batch_norms(base):
        layer.trainable = True
        layer.momentum = 1.0
        for variable in layer.trainable_variables:
            variable.trainable = False


def origin_model(base: Any, n_classes: int, seed: int) -> Any:
    """The original model, compiled: from pixels / 255 to probabilities.

    `base`, frozen by `freeze_as_keras_2_2`, is not copied; `seed` is for new weights and Dropout.
    """
    return _compiled(base.input_shape[1:], [base], n_classes, seed)


def head_alone(dim: int, n_classes: int, seed: int) -> Any:
    """The head of the original model alone, compiled the same way, on embeddings (n, dim)."""
    return _compiled((dim,), [], n_classes, seed)


def digest(base: Any) -> str:
    """SHA-256 over all weights and moving statistics of a network."""
    found = hashlib.sha256()
    for variable in base.weights:
        found.update(variable.numpy().tobytes())
    return found.hexdigest()


def _compiled(shape: tuple[int, ...], first: list[Any], n_classes: int, seed: int) -> Any:
    keras = load_keras()
    layers = keras.layers
    keras.utils.set_random_seed(seed)
    head = [
        layers.BatchNormalization(),
        layers.Dropout(DROPOUTS[0]),
        layers.Dense(WIDTH, activation="relu"),
        layers.Dropout(DROPOUTS[1]),
        layers.Dense(n_classes, activation="softmax"),
    ]
    model = keras.Sequential([keras.Input(shape), *first, *head])
    model.compile(
        keras.optimizers.Adam(LEARNING_RATE),
        "sparse_categorical_crossentropy",
        weighted_metrics=train_metrics(keras, n_classes),
        jit_compile=False,
    )
    return model


class Epoch(NamedTuple):
    """The numbers that Keras prints for an epoch; top-5 is 1 for five classes or fewer.

    Train values are means over the epoch, with Dropout; val values are measured at its end.
    """

    seconds: float
    loss: float
    acc: float
    top5: float
    val_loss: float
    val_acc: float
    val_top5: float


@dataclass(frozen=True)
class PixelInputs:
    """Images, decoded and scaled again in every epoch, as in the original script."""

    images: Images
    scaling: Scaling
    size_px: int

    @property
    def labels(self) -> NDArray[np.int32]:
        """int32 (n_images,)."""
        return self.images.labels

    def batches(self, order: NDArray[np.intp], batch_size: int) -> Iterator[Batch]:
        """Pixels and labels of some rows, in the given order."""
        files = self.images.files(order)

        def refuse(row: int, reason: UnusableImageError) -> None:
            raise DataError(
                f"{files[row].path}: {reason}. It could be read before. Run the command again."
            )

        for rows, pixels in image_batches(files, self.size_px, batch_size, refuse):
            yield self.scaling(pixels), self.images.labels[order[rows]]


@dataclass(frozen=True)
class EmbeddingInputs:
    """Embeddings that were extracted once."""

    embeddings: NDArray[np.float32]
    labels: NDArray[np.int32]

    def batches(self, order: NDArray[np.intp], batch_size: int) -> Iterator[Batch]:
        """Embeddings and labels of some rows, in the given order."""
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            yield self.embeddings[rows], self.labels[rows]


Inputs = PixelInputs | EmbeddingInputs


def run_epochs(
    model: Any,
    inputs: Inputs,
    rows: tuple[NDArray[np.intp], NDArray[np.intp]],
    n_epochs: int,
    batch_size: int,
    seed: int,
) -> tuple[list[Epoch], NDArray[np.float32]]:
    """Train a compiled model, logging each epoch as Keras 2.2 printed it with ``verbose=2``.

    `rows` are the rows of train and of val; `seed` is for the order of train in each epoch. Also
    returns the probabilities on val at the end, float32 (n_val, n_classes).
    """
    train, val = rows
    rng = np.random.default_rng(seed)
    infer = load_tensorflow().function(lambda batch: model(batch, training=False))
    epochs: list[Epoch] = []
    for number in range(1, n_epochs + 1):
        LOG.info(f"Epoch {number}/{n_epochs}")
        started = time.perf_counter()
        means = train_epoch(model, inputs.batches(rng.permutation(train), batch_size))
        probas, labels = [], []
        for batch, y in inputs.batches(val, batch_size):
            probas.append(np.asarray(infer(batch)))
            labels.append(y)
        proba = np.concatenate(probas)
        seconds = time.perf_counter() - started
        epochs.append(_epoch(seconds, means, np.concatenate(labels), proba))
        LOG.info(keras_line(epochs[-1]))
    return epochs, proba


def keras_line(epoch: Epoch) -> str:
    """An epoch as Keras 2.2 printed it."""
    names = ("loss", "acc", "top_k_categorical_accuracy")
    values = dict(zip((*names, *(f"val_{name}" for name in names)), epoch[1:], strict=True))
    shown = (
        f"{name}: {value:{'.4f' if value > SMALLEST_PLAIN else '.4e'}}"
        for name, value in values.items()
    )
    return " - ".join([f" - {epoch.seconds:.0f}s", *shown])


def epoch_rows(epochs: list[dict[str, float]]) -> list[tuple[str, ...]]:
    """One row for each epoch, in the order of `EPOCH_TITLES`."""
    return [
        (
            str(number),
            f"{epoch['seconds']:.1f}",
            *(f"{epoch[name]:.4f}" for name in Epoch._fields[1:]),
        )
        for number, epoch in enumerate(epochs, start=1)
    ]


def _epoch(
    seconds: float, means: dict[str, float], y: NDArray[np.int32], proba: NDArray[np.float32]
) -> Epoch:
    weight = np.ones(len(y))
    shares = top_shares(y, proba, weight)
    return Epoch(
        seconds,
        means["loss"],
        means["top1"],
        means.get("top5", 1.0),
        mean_log_loss(y, proba, weight),
        shares["top1"],
        shares.get("top5", 1.0),
    )
