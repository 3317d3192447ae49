"""The loss that a model is trained with."""

from collections.abc import Mapping
from typing import Any, NamedTuple

CATEGORICAL = (
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
    "categorical_focal_crossentropy",
)
BINARY = ("binary_crossentropy", "binary_focal_crossentropy")
TAKEN_BACK = (
    "Keras 3 on TensorFlow looks behind the activation of the last layer and warns of it, so that "
    "training may look right; on JAX or PyTorch, or with anything behind that layer, it is applied "
    "twice."
)
# As Keras abbreviates it.
IN_FULL = {"bce": "binary_crossentropy"}


class Loss(NamedTuple):
    """The loss that a model is trained with.

    Attributes
    ----------
    name : str
        In lower case with underscores, such as ``sparse_categorical_crossentropy``.
    from_logits : bool
    """

    name: str
    from_logits: bool

    @property
    def is_categorical(self) -> bool:
        """Whether it takes the probabilities of classes, one of which is right."""
        return self.name in CATEGORICAL

    @property
    def is_binary(self) -> bool:
        """Whether it takes each output for a question of its own."""
        return self.name in BINARY

    @property
    def is_focal(self) -> bool:
        """Whether it weighs down what is right already."""
        return "focal" in self.name


def read_loss(described: Any, name: str | None, from_logits: bool | None) -> Loss | None:
    """The loss as a model's file describes it, or as the user says, who wins.

    Parameters
    ----------
    described : mapping or sequence or str or None
        `UserModel.loss`.
    name : str or None
    from_logits : bool or None
    """
    config: Mapping[str, Any] = {}
    found = described = _of_one_output(described)
    if isinstance(described, Mapping):
        config = described.get("config", {})
        found = described.get("class_name")
        if isinstance(config, str):
            # A function: its name.
            found, config = config, {}
    found = name or found
    if not isinstance(found, str):
        return None
    is_from_logits = from_logits
    if is_from_logits is None:
        is_from_logits = bool(isinstance(config, Mapping) and config.get("from_logits", False))
    snake = _snake(found)
    return Loss(IN_FULL.get(snake, snake), is_from_logits)


def _of_one_output(described: Any) -> Any:
    """The loss of a model of one output that was compiled with a list of them, or a mapping."""
    if isinstance(described, (list, tuple)) and len(described) == 1:
        return _of_one_output(described[0])
    is_by_output = isinstance(described, Mapping) and not {"class_name", "config"} & set(described)
    if is_by_output and len(described) == 1:
        return _of_one_output(next(iter(described.values())))
    return described


def _snake(name: str) -> str:
    """A class name such as CategoricalCrossentropy as the name of its function."""
    if "_" in name or name.islower() or name.isupper():
        return name.lower()
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in name).lstrip("_")
