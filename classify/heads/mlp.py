"""Small Keras networks on embeddings."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from headbench.cache.progress import Progress
from headbench.classify.arrays import save_arrays
from headbench.classify.checked import load_numbers
from headbench.classify.heads.column_statistics import mean_and_scale
from headbench.classify.heads.curves import Curves, train_epoch, train_metrics
from headbench.classify.heads.grid import AT_LIMIT
from headbench.classify.heads.head import Head, Labelled
from headbench.classify.heads.keras_layers import standardised
from headbench.classify.heads.parameters import (
    FLAG,
    POSITIVE,
    RATE,
    WIDTHS,
    Range,
    one_of,
    or_none,
    whole,
)
from headbench.classify.heads.streaming import StoredRows, row_blocks
from headbench.extract.networks.devices import find_devices
from headbench.extract.networks.keras_runtime import load_keras, load_saved

ARRAYS_FILE = "mlp.npz"
# What versions before wrote in its place.
OLD_MODEL_FILE, OLD_SCALER_FILE = "model.keras", "normalise.npz"
# Of each layer, in Keras' order.
NORM_WEIGHTS, DENSE_WEIGHTS = ("gamma", "beta", "mean", "variance"), ("kernel", "bias")
# Keras' own.
NORM_EPSILON = 1e-3
DEVIATION = 0.1
BASE_BATCH = 64
LARGEST_BATCH = 512
# A plan is so many steps long, in no fewer and no more epochs than these.
PLANNED_STEPS = 1200
FEWEST_EPOCHS, MOST_EPOCHS = 10, 100
# A plan was too short if its second half lowered the loss on val by this share of log(n_classes),
# the loss of chance. In all it becomes at most so many times as long.
LEAST_GAIN, MOST_PLANS = 0.005, 8
# A limit on time: a plan is not prolonged beyond so many images times weights, about 80 s on 2
# cores. Besides its weights, an image costs as much as so many more.
MOST_WORK, WORK_BESIDES = 1.5e12, 400_000
AUTO, FLOAT32, MIXED_FLOAT16 = PRECISIONS = ("auto", "float32", "mixed_float16")
# Rows read from the file in one go, and rows shuffled together: 64 MB at 2 048 columns. A folder's
# images stand side by side in the file, so many short runs make a fair mixture of classes.
RUN_ROWS = 128
SHUFFLED_ROWS = 8192

Batch = tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.float64]]


class MLP(Head):
    """Dense layers with relu and Dropout, then softmax; the epoch is chosen on val by log loss.

    The mean over train is subtracted from each column, and all columns are divided by one number,
    so that their standard deviation is 0.1. Without this, Dropout on columns that vary little
    around a large mean hides their information: `mlp-128` stayed at chance on such embeddings. One
    number works better than one for each column. Mean log loss on val over 3 seeds was 1.33 for
    `mlp-128` with it, 1.35 at a deviation of 0.33, and 1.61 with each column scaled to a deviation
    of 1 (220 images of val, 980 of train, 10 classes, weights trained for this project, 96 px).

    The learning rate falls to 0 along a cosine. While longer training lowers the log loss on val,
    the rate restarts for as many epochs as there were so far (Loshchilov and Hutter 2017, SGDR).
    Batches grow with the number of images: with 60 600 images of 101 classes an epoch of `mlp-128`
    took 2.0 s with batches of 512 and 4.4 s with batches of 64.

    Parameters
    ----------
    hidden : sequence of int
        Widths of the dense layers.
    batch_norm : bool
        Whether a BatchNormalization comes first.
    input_dropout, dropout : float
        Share of columns dropped before the first dense layer, and after each dense layer.
    learning_rate : float
        Of Adam at the start, for batches of 64; it grows with the square root of the batch size.
    batch_size : int or None
        None: 1/256 of the images, between 64 and 512.
    max_epochs : int or None
        None: 1 200 steps in 10 to 100 epochs, and more epochs while they lower the loss on val.
    patience : int
        Training stops after so many epochs without a smaller log loss on val; the best is kept.
    n_epochs : int or None
        Epochs without val; None: all of the plan.
    precision : {"auto", "float32", "mixed_float16"}
        auto: mixed_float16 on GPUs that gain from it.
    class_weight : {None, "balanced"} or mapping
    """

    needs_tensorflow: ClassVar[bool] = True
    is_exportable: ClassVar[bool] = True
    ranges: ClassVar[Mapping[str, Range]] = {
        "hidden": WIDTHS,
        "batch_norm": FLAG,
        "input_dropout": RATE,
        "dropout": RATE,
        "learning_rate": POSITIVE,
        "batch_size": or_none(whole(1)),
        "max_epochs": or_none(whole(1)),
        "patience": whole(1),
        "n_epochs": or_none(whole(1)),
        "precision": one_of(*PRECISIONS),
    }
    refit_with: ClassVar[Mapping[str, str]] = {"n_epochs": "epochs"}

    def __init__(
        self,
        hidden: Sequence[int] = (128,),
        batch_norm: bool = False,
        input_dropout: float = 0.2,
        dropout: float = 0.3,
        learning_rate: float = 1e-3,
        batch_size: int | None = None,
        max_epochs: int | None = None,
        patience: int = 8,
        n_epochs: int | None = None,
        precision: str = AUTO,
        class_weight: Any = None,
        seed: int = 0,
    ) -> None:
        self.hidden = hidden
        self.batch_norm = batch_norm
        self.input_dropout = input_dropout
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.n_epochs = n_epochs
        self.precision = precision
        self.class_weight = class_weight
        self.seed = seed

    def _fit(self, train: Labelled, val: Labelled | None) -> None:
        keras = load_keras()
        keras.utils.set_random_seed(self.seed)
        self.mean_, deviation = mean_and_scale(train.X, train.weight)
        mean_variance = float(np.square(deviation, dtype=np.float64).mean())
        self.scale_ = DEVIATION / mean_variance**0.5
        self.model_ = self._build(keras, len(self.mean_))
        n_images = len(train.y)
        batch_size = min(self.batch_size or _batch_size(n_images), n_images)
        plan = self.max_epochs or _n_epochs(n_images, batch_size)
        curves = Curves(len(self.classes_))
        self.history_ = curves.history
        with Progress("fit", plan, "epochs") as progress:
            is_at_limit = self._train(train, val, batch_size, plan, curves, progress)
        losses = self.history_["val_log_loss"]
        n_run = len(self.history_["train_loss"])
        kept = int(np.argmin(losses)) + 1 if losses else n_run
        self.chosen_ = {"epochs": kept, "epochs_run": n_run}
        if is_at_limit:
            self.chosen_[AT_LIMIT] = True

    def _train(
        self,
        train: Labelled,
        val: Labelled | None,
        batch_size: int,
        plan: int,
        curves: Curves,
        progress: Progress,
    ) -> bool:
        """Train and keep the best epoch; returns whether val gained up to the last one allowed."""
        most = self.max_epochs or n_plans(len(train.X) * plan, self._n_weights()) * plan
        n_epochs = most
        if val is None:  # one cosine, as long as the plan or as val chose, whichever is longer
            n_epochs = min(most, self.n_epochs or plan)
            plan = max(plan, n_epochs)
        rate = self.learning_rate * (batch_size / BASE_BATCH) ** 0.5
        rng = np.random.default_rng(self.seed)
        losses, best = curves.history["val_log_loss"], []
        least_gain = LEAST_GAIN * math.log(len(self.classes_))
        for epoch in range(n_epochs):
            start, length = cosine_cycle(epoch, plan)
            if val is not None and epoch == start > 0 and not has_gained(losses, least_gain):
                break
            progress.expect(min(start + length, n_epochs))
            angle = np.pi * (epoch - start) / length
            self.model_.optimizer.learning_rate = rate * (1 + np.cos(angle)) / 2
            batches = epoch_batches(train, batch_size, rng)
            means = train_epoch(self.model_, ((self._normalise(X), *rest) for X, *rest in batches))
            self.weights_ = self.model_.get_weights()
            proba = None if val is None else self._proba(val.X)
            if not np.isfinite(means["loss"] if proba is None else proba).all():
                break  # diverged: the best epoch before stays
            curves.add_train(means)
            progress.update()
            if val is None or proba is None:
                continue
            loss = curves.add_val(val.y, proba, val.weight)
            if loss <= min(losses):
                best = self.weights_
            elif epoch - start - int(np.argmin(losses[start:])) >= self.patience:
                break
        self.weights_ = best or self.weights_
        return len(losses) == most and has_gained(losses, least_gain)

    def _build(self, keras: Any, dim: int) -> Any:
        layers = keras.layers
        is_mixed = self.precision == MIXED_FLOAT16 or (
            self.precision == AUTO and find_devices().gain_from_float16
        )
        dtype = MIXED_FLOAT16 if is_mixed else FLOAT32
        stack = [layers.BatchNormalization(dtype=dtype)] if self.batch_norm else []
        stack.append(layers.Dropout(self.input_dropout, dtype=dtype))
        for width in self.hidden:
            stack.append(layers.Dense(width, activation="relu", dtype=dtype))
            stack.append(layers.Dropout(self.dropout, dtype=dtype))
        # Always in float32: float16 cannot represent the logarithm of a small probability.
        stack.append(layers.Dense(len(self.classes_), activation="softmax", dtype=FLOAT32))
        model = keras.Sequential([keras.Input((dim,)), *stack])
        optimizer = keras.optimizers.Adam(self.learning_rate)
        if is_mixed:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        model.compile(
            optimizer,
            "sparse_categorical_crossentropy",
            weighted_metrics=train_metrics(keras, len(self.classes_)),
            jit_compile=False,
        )
        return model

    def _n_weights(self) -> int:
        widths = [len(self.mean_), *self.hidden, len(self.classes_)]
        return sum(n_in * n_out for n_in, n_out in pairwise(widths))

    def _normalise(self, X: Any) -> Any:
        return (X - self.mean_) * np.float32(self.scale_)

    def _predict_proba(self, X: NDArray[np.float32]) -> NDArray[Any]:
        # Of weights that a stranger made too large, whoever asks finds that these are none.
        with np.errstate(over="ignore", invalid="ignore"):
            return self._forward(self._normalise(X))

    def _forward(self, outputs: NDArray[np.float32]) -> NDArray[Any]:
        """The network by NumPy: to predict with a saved head, TensorFlow need not be imported."""
        weights = self.weights_
        if self.batch_norm:
            gamma, beta, mean, variance = weights[: len(NORM_WEIGHTS)]
            outputs = (outputs - mean) * (gamma / np.sqrt(variance + NORM_EPSILON)) + beta
            weights = weights[len(NORM_WEIGHTS) :]
        for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            outputs = np.maximum(outputs @ kernel + bias, 0)
        kernel, bias = weights[-2:]
        return softmax(outputs @ kernel + bias, axis=1)  # type: ignore[no-any-return]

    def _weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of each of the weights, in Keras' order."""
        widths = (self.n_features_in_, *self.hidden, len(self.classes_))
        norm = {f"norm_{name}": widths[:1] for name in NORM_WEIGHTS if self.batch_norm}
        dense = {
            f"{name}_{layer}": pair if name == "kernel" else pair[1:]
            for layer, pair in enumerate(pairwise(widths))
            for name in DENSE_WEIGHTS
        }
        return norm | dense

    def _save(self, folder: Path) -> None:
        weights = dict(zip(self._weight_shapes(), self.weights_, strict=True))
        scaler = {"mean": self.mean_, "scale": np.array(self.scale_)}
        save_arrays(folder / ARRAYS_FILE, scaler | weights)

    def _load(self, folder: Path) -> None:
        if (folder / OLD_MODEL_FILE).exists():
            arrays = load_numbers(folder / OLD_SCALER_FILE)
            self.weights_ = load_saved(folder / OLD_MODEL_FILE).get_weights()
        else:
            arrays = load_numbers(folder / ARRAYS_FILE)
            self.weights_ = [arrays[name] for name in self._weight_shapes()]
        self.mean_, self.scale_ = arrays["mean"], float(arrays["scale"])
        found, expected = [each.shape for each in self.weights_], [*self._weight_shapes().values()]
        if found != expected:
            raise ValueError(f"expected weights of the shapes {expected}, found {found}")

    def keras_model(self) -> Any:
        """The fitted network as a keras.Model from normalised columns to probabilities."""
        model = self._build(load_keras(), self.n_features_in_)
        model.set_weights(self.weights_)
        return model

    def keras_logits(self, X: Any) -> Any:
        """See `Head.keras_logits`."""
        keras, model = load_keras(), self.keras_model()
        outputs = standardised(X, self.mean_, np.float64(1) / self.scale_)
        for layer in model.layers:
            config = layer.get_config() | {"dtype": FLOAT32}
            del config["name"]  # two networks of one vote have the same
            if layer is model.layers[-1]:
                config["activation"] = "linear"
            copy = type(layer).from_config(config)
            copy.trainable = not isinstance(copy, keras.layers.BatchNormalization)
            outputs = copy(outputs)
            copy.set_weights(layer.get_weights())
        return outputs


def epoch_batches(data: Labelled, batch_size: int, rng: np.random.Generator) -> Iterator[Batch]:
    """Batches of all images, each once, in random order.

    Parameters
    ----------
    data : Labelled
        Embeddings in a file are read and shuffled 8 192 at a time.
    batch_size : int
        The last batch may be smaller; from a file, the last of each 8 192 images.
    rng : numpy.random.Generator
    """
    if isinstance(data.X, StoredRows):
        return _from_file(data.X, data, batch_size, rng)
    return _from_memory(data, batch_size, rng)


def _from_memory(data: Labelled, batch_size: int, rng: np.random.Generator) -> Iterator[Batch]:
    order = rng.permutation(len(data.y))
    for batch in row_blocks(len(order), batch_size):
        rows = order[batch]
        yield data.X[rows], data.y[rows], data.weight[rows]


def _from_file(
    X: StoredRows, data: Labelled, batch_size: int, rng: np.random.Generator
) -> Iterator[Batch]:
    runs = np.split(np.arange(len(X)), np.arange(RUN_ROWS, len(X), RUN_ROWS))
    order = np.concatenate([runs[each] for each in rng.permutation(len(runs))])
    for window in row_blocks(len(order), SHUFFLED_ROWS):
        positions = np.sort(order[window])
        embeddings = X[positions]
        shuffled = rng.permutation(len(positions))
        for batch in row_blocks(len(positions), batch_size):
            here = shuffled[batch]
            rows = positions[here]
            yield embeddings[here], data.y[rows], data.weight[rows]


def n_plans(n_images: int, n_weights: int) -> int:
    """How many times as long a plan that sees so many images may become: 1, 2, 4 or 8."""
    work = n_images * (n_weights + WORK_BESIDES)
    return int(min(MOST_PLANS, 2 ** math.floor(math.log2(max(1, MOST_WORK / work)))))


def cosine_cycle(epoch: int, plan: int) -> tuple[int, int]:
    """First epoch and length of the cosine of an epoch: `plan`, `plan`, twice that ..."""
    start, length = 0, plan
    while epoch >= start + length:
        start += length
        length = start
    return start, length


def has_gained(losses: Sequence[float], least_gain: float) -> bool:
    """Whether the second half of the epochs lowered the loss on val by `least_gain`."""
    half = len(losses) // 2
    return min(losses[:half], default=np.inf) - min(losses[half:]) >= least_gain


def _batch_size(n_images: int) -> int:
    return int(np.clip(n_images // 256, BASE_BATCH, LARGEST_BATCH))


def _n_epochs(n_images: int, batch_size: int) -> int:
    steps = -(-n_images // batch_size)
    return int(np.clip(-(-PLANNED_STEPS // steps), FEWEST_EPOCHS, MOST_EPOCHS))
