"""Examine a Keras model of the user's own."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headbench.classify.doctor.finding import Examination, Finding, not_checked
from headbench.classify.doctor.model.anatomy import (
    Leaf,
    convolutions,
    find_family,
    input_size,
    leaves,
)
from headbench.classify.doctor.model.frozen_layers import (
    by_batch_in_training,
    check_batch_norms,
    check_repeated,
    check_step,
)
from headbench.classify.doctor.model.input_pixels import (
    InputPixels,
    judged_condition,
    look_at_pixels,
    trained_on,
)
from headbench.classify.doctor.model.load import UserModel, calling, load_user_model, read_loss
from headbench.classify.doctor.model.loss import check_loss, look_at_ending, noise
from headbench.classify.doctor.model.measured import Measured, Sample, draw_sample, measure
from headbench.classify.doctor.model.outputs import (
    check_answers,
    check_noise,
    check_outputs,
    check_weights,
    describe_order,
    in_order,
    other_order,
)
from headbench.classify.doctor.model.scaling import check_scaling
from headbench.classify.doctor.scalings import SCALINGS
from headbench.classify.doctor.script import ScriptSettings
from headbench.classify.wording import count
from headbench.extract.errors import DataError

LOG = logging.getLogger(__name__)

# The size of the sides that a model leaves open.
USUAL_PX = 224


def examine_model(path: Path, data: Path | None, script: ScriptSettings) -> Examination:
    """Examine a model: layers, pixels, outputs; with a folder of labelled images, its accuracy.

    Raises
    ------
    RunError
        If the model cannot be loaded without running code from it, or fails when it is run.
    """
    LOG.info(f"{path}: loading the model")
    user = load_user_model(path)
    found = leaves(user.model)
    described = _describe(user, found)
    if reason := _unsuited(user.model):
        return Examination(described, [not_checked("the model", reason)])
    sample = _sample(data, input_size(user.model, script.size or USUAL_PX))
    return Examination(described, list(_findings(user, found, sample, script)))


def _findings(
    user: UserModel, found: list[Leaf], sample: Sample | Finding, script: ScriptSettings
) -> Iterator[Finding]:
    model = user.model
    if broken := list(check_weights(found)):
        yield from broken
        return
    open_px = script.size or USUAL_PX
    with calling(user.path):
        pixels = look_at_pixels(model, found, open_px, script.scaling)
        ending = look_at_ending(model, found, noise((*input_size(model, open_px), 3)))
    loss = read_loss(user.loss, script.loss, script.from_logits)
    yield from check_loss(ending, loss) if ending.is_finite else check_noise(ending)
    measured = None
    if isinstance(sample, Finding):
        yield sample
    else:
        wrong = list(check_outputs(model.output_shape[-1], sample.classes))
        yield from wrong
        if not wrong:
            LOG.info(f"{user.path}: {len(sample.labels)} images under {len(SCALINGS)} scalings")
            by_batch = by_batch_in_training(user, found)
            with calling(user.path):
                measured = measure(model, sample, by_batch, script.batch_size)
    if measured and (order := other_order(measured, pixels.declared)):
        yield describe_order(order, measured)
        measured = in_order(measured, order)
    yield from _judge(user, found, pixels, measured)
    if isinstance(sample, Sample):
        scaling = SCALINGS[trained_on(pixels, measured)[0]]
        with calling(user.path):
            stepped = list(check_step(model, found, scaling(sample.images), sample.labels))
        yield from stepped


def _sample(data: Path | None, size: tuple[int, int]) -> Sample | Finding:
    """Labelled images, or a note of why there are none."""
    if data is None:
        why = "No folder of labelled images was named."
        return not_checked("accuracy", why, "Name it beside the model: doctor model.keras photos.")
    try:
        return draw_sample(data, size)
    except DataError as error:
        return not_checked(
            "accuracy", str(error), "Correct the folder, and examine the model again."
        )


def _judge(
    user: UserModel, found: list[Leaf], pixels: InputPixels, measured: Measured | None
) -> Iterator[Finding]:
    convolving = convolutions(found)
    # Most of what convolves cannot learn.
    is_frozen = sum(leaf.is_frozen for leaf in convolving) > len(convolving) / 2
    yield from check_scaling(pixels, measured, is_frozen)
    yield from check_batch_norms(user, found, measured, trained_on(pixels, measured))
    yield from check_repeated(found)
    if measured:
        yield from check_answers(measured, judged_condition(pixels, measured))


def _unsuited(model: Any) -> str:
    """Why a model does not classify images; empty if it does."""
    if not hasattr(model, "input_shape"):
        return "It was saved before it was built: start it with keras.Input, or fit it first."
    shapes = (model.input_shape, model.output_shape)
    takes, gives = shapes
    if not all(isinstance(shape, tuple) for shape in shapes):
        return "It has several inputs or outputs."
    if len(takes) != 4 or takes[-1] != 3:
        return f"It takes {takes}, expected images (n, height, width, 3)."
    if len(gives) != 2:
        return f"It gives {gives}, expected (n, n_classes)."
    return ""


def _describe(user: UserModel, found: list[Leaf]) -> str:
    family = find_family(found)
    n_frozen = sum(leaf.is_frozen for leaf in found if leaf.layer.weights)
    n_weighted = sum(bool(leaf.layer.weights) for leaf in found)
    return (
        f"{user.path}: {family.name + ' inside, ' if family else ''}"
        f"{count(n_weighted, 'layer')} with weights, {n_frozen} of them frozen, saved by Keras "
        f"{user.keras_version or 'unknown'}"
    )
