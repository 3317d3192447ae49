"""Examine a Keras model of the user's own."""

import logging
from collections.abc import Iterator
from dataclasses import replace
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
from headbench.classify.doctor.model.declared_loss import calling, read_loss
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
from headbench.classify.doctor.model.loss import check_loss, look_at_ending, noise
from headbench.classify.doctor.model.measured import Measured, Sample, draw_sample, measure
from headbench.classify.doctor.model.moving_statistics import fit_of
from headbench.classify.doctor.model.network_use import (
    N_IMAGES,
    check_dead,
    check_nothing_frozen,
    check_top,
    look_at_layers,
)
from headbench.classify.doctor.model.outputs import (
    can_be_measured,
    check_answers,
    check_channels,
    check_noise,
    check_outputs,
    check_weights,
    describe_order,
    in_order,
    other_order,
)
from headbench.classify.doctor.model.scaling import check_scaling
from headbench.classify.doctor.scalings import KNOWN, SCALINGS, Scaling
from headbench.classify.doctor.script import ScriptSettings
from headbench.classify.wording import count, percent
from headbench.extract.errors import DataError
from headbench.extract.networks.user_model import UserModel, load_user_model
from headbench.extract.settings import USUAL_PX

LOG = logging.getLogger(__name__)


def examine_model(path: Path, data: Path | None, script: ScriptSettings) -> Examination:
    """Examine a model: layers, pixels, outputs; with a folder of labelled images, its accuracy.

    Raises
    ------
    WeightsError
        If the model cannot be loaded without running code from its file.
    RunError
        If it fails when it runs.
    """
    LOG.info(f"{path}: loading the model")
    user = load_user_model(path)
    found = leaves(user.model)
    described = _describe(user, found)
    if reason := _unsuited(user.model):
        return Examination(described, [not_checked("the model", reason)])
    with calling(path):
        pixels = look_at_pixels(user.model, found, script.size or USUAL_PX, script.scaling)
    if broken := list(check_weights(found)):
        return Examination(described, [*broken, *_judge(user, found, pixels, None)])
    sample = _sample(data, input_size(user.model, script.size or USUAL_PX))
    findings = list(_check_ending(user, found, script))
    measured = None
    if isinstance(sample, Finding):
        findings.append(sample)
    else:
        findings += check_outputs(user.model.output_shape[-1], sample.classes)
        pixels, measured = _measure(user, found, pixels, sample, script)
    if measured and (order := other_order(measured, pixels.declared)):
        findings.append(describe_order(order, measured))
        measured = in_order(measured, order)
    findings += _judge(user, found, pixels, measured)
    if isinstance(sample, Sample):
        findings += _run(user, found, sample, KNOWN[trained_on(pixels, measured)[0]])
    return Examination(described + _accuracy(pixels, measured), findings)


def _check_ending(user: UserModel, found: list[Leaf], script: ScriptSettings) -> Iterator[Finding]:
    size = input_size(user.model, script.size or USUAL_PX)
    with calling(user.path):
        ending = look_at_ending(user.model, found, noise((*size, 3)))
    loss = read_loss(user.loss, script.loss, script.from_logits)
    yield from check_loss(ending, loss) if ending.is_finite else check_noise(ending)


def _measure(
    user: UserModel,
    found: list[Leaf],
    pixels: InputPixels,
    sample: Sample,
    script: ScriptSettings,
) -> tuple[InputPixels, Measured | None]:
    """Pixels with their fit to BatchNormalization; accuracies, None if outputs do not fit."""
    model, by_batch = user.model, by_batch_in_training(user, found)
    with calling(user.path):
        pixels = replace(pixels, fit=fit_of(model, found, by_batch, sample.images))
        if not can_be_measured(model.output_shape[-1], len(sample.classes)):
            return pixels, None
        LOG.info(f"{user.path}: {len(sample.labels)} images with {len(SCALINGS)} scalings")
        return pixels, measure(model, sample, by_batch, script.batch_size, script.scaling)


def _run(user: UserModel, found: list[Leaf], sample: Sample, scaling: Scaling) -> Iterator[Finding]:
    """Run the model on images scaled as in training, and train it for a step."""
    with calling(user.path):
        given = look_at_layers(user.model, found, scaling(sample.images[:N_IMAGES]))
        yield from check_dead(given)
        yield from check_step(user.model, found, scaling(sample.images), sample.labels)


def _accuracy(pixels: InputPixels, measured: Measured | None) -> str:
    if measured is None:
        return ""
    condition = judged_condition(pixels, measured)
    return (
        f"; accuracy {percent(measured.accuracy(condition))} on {len(measured.sample.labels)} "
        f"images, pixels {condition.scaling}, in inference mode"
    )


def _sample(data: Path | None, size: tuple[int, int]) -> Sample | Finding:
    """Labelled images, or a note of why there are none."""
    if data is None:
        why = "No folder of labelled images was named."
        return not_checked(
            "accuracy", why, "Name one after the model: 'headbench doctor model.keras photos'."
        )
    try:
        return draw_sample(data, size)
    except DataError as error:
        return not_checked(
            "accuracy", str(error), "Correct the folder, then examine the model again."
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
    yield from check_top(found)
    has_learnt = False
    if measured:
        condition = judged_condition(pixels, measured)
        has_learnt = measured.is_useful(measured.accuracy(condition))
        yield from check_channels(measured)
        yield from check_answers(measured, condition)
    yield from check_nothing_frozen(found, has_learnt)


def _unsuited(model: Any) -> str:
    """Why a model does not classify images; empty if it does."""
    if not hasattr(model, "input_shape"):
        return "It was saved before it was built: begin it with keras.Input, or fit it first."
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
