"""Training curves of a network: loss and accuracy after each epoch."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.classify.metrics import TOP_K, mean_log_loss, top_shares


class Curves:
    """Curves of a network that is trained on batches and measured on val between epochs.

    Attributes
    ----------
    history : dict of str to list of float
        ``train_loss``, ``train_top1``, ``train_top5``: Keras' running means over an epoch, while
        weights change and Dropout is on. ``val_log_loss``, ``val_top1``, ``val_top5``: measured
        between epochs. All use the weights of the images. With five classes or fewer there is no
        top 5.
    """

    def __init__(self, n_classes: int) -> None:
        shares = ("top1", "top5") if n_classes > TOP_K else ("top1",)
        names = {"train": ("loss", *shares), "val": ("log_loss", *shares)}
        self.history: dict[str, list[float]] = {
            f"{split}_{name}": [] for split in names for name in names[split]
        }

    def add_train(self, means: Mapping[str, float]) -> None:
        """Add an epoch of training.

        Parameters
        ----------
        means : mapping of str to float
            As `train_epoch` gives them.
        """
        self._add("train", means)

    def add_val(
        self, y: NDArray[np.integer], proba: NDArray[np.floating], weight: NDArray[np.floating]
    ) -> float:
        """Add an epoch's probabilities on val; returns their log loss.

        Parameters
        ----------
        y : int (n_val,)
            True classes, as columns.
        proba : float (n_val, n_classes)
        weight : float (n_val,)
        """
        loss = mean_log_loss(y, proba, weight)
        self._add("val", {"log_loss": loss, **top_shares(y, proba, weight)})
        return loss

    def _add(self, split: str, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.history[f"{split}_{name}"].append(float(value))


def train_metrics(keras: Any, n_classes: int) -> list[Any]:
    """Metrics for the ``weighted_metrics`` of `compile`; `train_epoch` returns them.

    They are computed from the probabilities of the training steps, so they need no extra pass over
    the images and do not change the training.

    Parameters
    ----------
    keras : module
    """
    metrics = [keras.metrics.SparseCategoricalAccuracy(name="top1")]
    if n_classes > TOP_K:
        metrics.append(keras.metrics.SparseTopKCategoricalAccuracy(TOP_K, name="top5"))
    return metrics


def train_epoch(model: Any, batches: Iterable[tuple[Any, ...]]) -> dict[str, float]:
    """Take a step for each batch; returns the means of loss and metrics over all batches.

    It takes the same steps as `train_on_batch`, which in Keras 3.15 resets the means before each
    batch (keras-team/keras#22617). A step with metrics costs no more than `train_on_batch` without:
    83.2 and 83.7 ms of CPU time for `mlp`, 236 images of 2 048 columns.

    Parameters
    ----------
    model : keras.Model
        Compiled with `train_metrics`.
    batches : iterable of tuple
        Inputs, labels and, if images are weighted, their weights.
    """
    model.reset_metrics()
    model.make_train_function()
    means: dict[str, Any] = {}
    for batch in batches:
        means = model.train_function(iter([batch]))
    return {name: float(mean) for name, mean in means.items()}
