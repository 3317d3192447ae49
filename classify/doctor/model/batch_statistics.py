"""BatchNormalization with the statistics of the batch, as in training: to show what that does."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from headbench.extract.networks.keras_runtime import load_keras


def batch_norms(model: Any) -> list[Any]:
    """The BatchNormalization layers of a Keras model, those of models inside it too, in order."""
    kind = load_keras().layers.BatchNormalization
    # Keras has no public way to list the layers of layers.
    return [layer for layer in model._flatten_layers() if isinstance(layer, kind)]


@contextmanager
def batch_statistics(layers: Iterable[Any]) -> Iterator[None]:
    """Let some BatchNormalization layers normalise by the batch, and keep all else as it is.

    Dropout and augmentation stay what they are in inference; the moving statistics are put back in
    the end. TensorFlow functions that are traced inside keep it, those from outside do not have it.

    Parameters
    ----------
    layers
        They compute as they do in training; frozen or not.
    """
    changed = [(layer, _flags(layer), _moving(layer)) for layer in layers]
    for layer, *_ in changed:
        # A frozen one would not do it, even when told to.
        layer.trainable = True
        layer.call = _in_training(layer)
    try:
        yield
    finally:
        for layer, (is_trainable, flags), moving in changed:
            del layer.call
            layer.trainable = is_trainable
            for variable, flag in zip(layer.variables, flags, strict=True):
                variable.trainable = flag
            layer.moving_mean.assign(moving[0])
            layer.moving_variance.assign(moving[1])


def _in_training(layer: Any) -> Callable[..., Any]:
    def call(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:  # noqa: ARG001
        return type(layer).call(layer, inputs, training=True, mask=mask)

    return call


def _flags(layer: Any) -> tuple[bool, list[bool]]:
    return layer.trainable, [variable.trainable for variable in layer.variables]


def _moving(layer: Any) -> tuple[Any, Any]:
    return layer.moving_mean.numpy(), layer.moving_variance.numpy()
