"""Settings of the user's own training script, which no file shows."""

import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from headbench.classify.doctor.scalings import BGR_SCALINGS, SCALINGS
from headbench.classify.errors import RunError
from headbench.classify.train_settings import read_toml

# What takes the validation share of the files.
FIT, GENERATOR, DATASET = "fit", "ImageDataGenerator", "image_dataset_from_directory"
LOADERS = (FIT, GENERATOR, DATASET)


@dataclass(frozen=True)
class ScriptSettings:
    """Settings of a training script; None if unknown.

    Attributes
    ----------
    scaling
        Scaling of pixels before the model: a name in `headbench.classify.doctor.scalings.SCALINGS`.
    size
        Height and width, px, of its images.
    loss
        Such as ``categorical_crossentropy``; None if the model file names it.
    from_logits
        Argument of that loss.
    validation_split
        Between 0 and 1.
    loader
        What takes the validation share: ``fit`` (Keras' `Model.fit`: the last ones, in file order),
        ``ImageDataGenerator`` (the first ones of each class) or ``image_dataset_from_directory``
        (the last ones; drawn at random if it shuffles).
    shuffle
        Whether `image_dataset_from_directory` shuffles before it splits, as it does by default.
    class_indices
        The script's JSON file of class names and indices.
    """

    scaling: str | None = None
    size: int | None = None
    batch_size: int = 32
    loss: str | None = None
    from_logits: bool | None = None
    validation_split: float | None = None
    loader: str = FIT
    shuffle: bool = True
    class_indices: Path | None = None


def parse_script(given: Iterable[str]) -> ScriptSettings:
    """Settings from ``KEY=VALUE`` and TOML files; later ones win.

    Raises
    ------
    RunError
        For an unknown setting or a wrong value.
    """
    merged: dict[str, Any] = {}
    for each in given:
        key, is_pair, value = each.partition("=")
        merged |= {key.strip(): _value(value.strip())} if is_pair else read_toml(Path(each))
    known = {field.name for field in fields(ScriptSettings)}
    for key, value in merged.items():
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise RunError(
                f"--script-settings {key}: expected one of {', '.join(sorted(known))}.{hint}"
            )
        expected, is_right = _CHECKS[key]
        if not is_right(value):
            raise RunError(f"--script-settings {key}: expected {expected}, found {value!r}.")
    if "class_indices" in merged:
        merged["class_indices"] = Path(merged["class_indices"])
    return ScriptSettings(**merged)


def _value(text: str) -> Any:
    """A value as TOML reads it; text needs no quotes."""
    lowered = text.lower()
    try:
        return tomllib.loads(f"value = {lowered}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


_CHECKS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "scaling": (
        f"one of {', '.join(SCALINGS | BGR_SCALINGS)}",
        lambda value: value in SCALINGS | BGR_SCALINGS,
    ),
    "size": ("pixels", _is_count),
    "batch_size": ("a number of images", _is_count),
    "loss": ("the name of a loss", lambda value: isinstance(value, str)),
    "from_logits": ("true or false", lambda value: isinstance(value, bool)),
    "validation_split": (
        "a share between 0 and 1",
        lambda value: isinstance(value, float) and 0 < value < 1,
    ),
    "loader": (f"one of {', '.join(LOADERS)}", lambda value: value in LOADERS),
    "shuffle": ("true or false", lambda value: isinstance(value, bool)),
    "class_indices": ("the path of a JSON file", lambda value: isinstance(value, str)),
}
