"""Settings of the user's own training script."""

import ast
import logging
import re
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from difflib import get_close_matches
from math import isclose
from pathlib import Path
from typing import Any

from headbench.classify.doctor.scalings import BGR_SCALINGS, PREPROCESS_INPUT, SCALINGS
from headbench.classify.errors import RunError
from headbench.classify.train_settings import read_toml

# What takes the validation share of the files.
FIT, GENERATOR, DATASET = "fit", "ImageDataGenerator", "image_dataset_from_directory"
LOADERS = (FIT, GENERATOR, DATASET)
# As scripts write it, without blanks; before it stands the image.
WRITTEN = {"/255": r"(1(\.0*)?|[a-z_]\w*)?/255(\.0*)?", "tf": r"([a-z_]\w*)?/127\.50*-1(\.0*)?"}
CALL = re.compile(r"[\w.]+\(.*\)", re.DOTALL)
# Arguments of ImageDataGenerator, in the order in which it applies them.
SCALING_KEYS = ("scaling", "preprocessing_function", "rescale")
LOG = logging.getLogger(__name__)


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
        The function that splits off validation: ``fit`` (Keras' `Model.fit`: the last files),
        ``ImageDataGenerator`` (the first files of each class) or ``image_dataset_from_directory``
        (the last files; random files if it shuffles).
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
    """Settings from ``KEY=VALUE``, calls such as ``ImageDataGenerator(rescale=1./255)`` and files.

    Files are TOML. Later settings win.

    Raises
    ------
    RunError
        For an unknown setting or a wrong value.
    """
    merged: dict[str, Any] = {}
    for each in given:
        merged |= _read(each.strip())
    merged = _with_one_scaling(merged)
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


def _read(given: str) -> dict[str, Any]:
    if CALL.fullmatch(given):
        return _read_call(given)
    key, is_pair, value = given.partition("=")
    return {key.strip(): _value(value.strip())} if is_pair else read_toml(Path(given))


def _read_call(text: str) -> dict[str, Any]:
    """What a call of Keras' loaders says; an argument that is no setting is logged."""
    try:
        call = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise RunError(f"--script-settings {text}: expected Python ({error.msg}).") from error
    if not isinstance(call, ast.Call) or ast.unparse(call.func).split(".")[-1] not in LOADERS:
        raise RunError(f"--script-settings {text}: expected a call of {' or '.join(LOADERS)}.")
    found = {each.arg or "**": _value(ast.unparse(each.value)) for each in call.keywords}
    usable = {field.name for field in fields(ScriptSettings)} | {*SCALING_KEYS}
    if unused := sorted(found.keys() - usable):
        LOG.info(f"note: the doctor does not use these arguments: {', '.join(unused)}")
    loader = ast.unparse(call.func).split(".")[-1]
    return {"loader": loader, **{key: found[key] for key in found.keys() & usable}}


def _with_one_scaling(merged: dict[str, Any]) -> dict[str, Any]:
    """The same with one scaling at most, as one of `SCALINGS` where it is known."""
    found = {key: _scaling(merged[key]) for key in SCALING_KEYS if key in merged}
    # What changes nothing leaves the other one.
    changing = {key: each for key, each in found.items() if each != "raw"} or found
    if len({*changing.values()}) > 1:
        said = " and ".join(f"{key}={merged[key]}" for key in changing)
        raise RunError(
            f"--script-settings: {said}: the script scales pixels twice, which no network of "
            "keras.applications expects. Keep the one that the network needs."
        )
    rest = {key: value for key, value in merged.items() if key not in SCALING_KEYS}
    return rest | ({"scaling": next(iter(changing.values()))} if changing else {})


def _scaling(written: Any) -> Any:
    """The name of a scaling, however a script writes it; the value itself if it is not known."""
    if written in SCALINGS | BGR_SCALINGS:
        return written
    text = re.sub(r"\s|^lambda \w+:", "", str(written).lower())
    module, _, function = text.rpartition(".")
    if function == "preprocess_input":
        return PREPROCESS_INPUT.get(module.split(".")[-1], written)
    if isinstance(written, float) and isclose(written * 255, 1, rel_tol=1e-3):
        return "/255"
    return next((name for name, form in WRITTEN.items() if re.fullmatch(form, text)), written)


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
        f"one of {', '.join(SCALINGS | BGR_SCALINGS)}; or 1./255; or preprocess_input with "
        "its module, such as resnet50.preprocess_input, as each module has its own",
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
