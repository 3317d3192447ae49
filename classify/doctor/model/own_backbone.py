"""The declared preprocessing of a backbone that is a model of the user's own."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.cache.reader import FeatureFile
from headbench.classify.doctor.finding import Examination, Finding, Severity, not_checked
from headbench.classify.doctor.model.anatomy import Leaf, leaves
from headbench.classify.doctor.model.declared_loss import calling
from headbench.classify.doctor.model.input_pixels import look_at_pixels
from headbench.classify.doctor.model.measured import draw_sample, measure
from headbench.classify.doctor.model.moving_statistics import N_IMAGES, fit_of
from headbench.classify.doctor.model.outputs import fits_outputs
from headbench.classify.doctor.model.scaling import check_scaling, misfit
from headbench.extract.errors import DataError, UnusableImageError, WeightsError
from headbench.extract.images.stream import decoded_images
from headbench.extract.networks.applications import OWN_MODEL, declared_as
from headbench.extract.networks.user_model import load_user_model
from headbench.extract.sources.source import Source
from headbench.extract.stopwatch import Stopwatch

LOG = logging.getLogger(__name__)

# What may be declared, as the doctor calls it.
SCALING_OF = {
    **{name: name for name in ("caffe", "tf", "torch", "raw")},
    "0-1": "/255",
    "inside": "raw",
}
DECLARED_AS = {scaling: name for name, scaling in SCALING_OF.items() if name != "inside"}
BATCH = 32


def warn_of_scaling(features: FeatureFile, images: Source) -> None:
    """Log it if the pixels that a model was trained on fit another scaling than the declared one.

    That is seen at its first BatchNormalization, without labels. Nothing is logged of other
    backbones, or if the images cannot be read again at little cost.
    """
    if features.identity.backbone != OWN_MODEL or not (images.is_near and images.is_there):
        return
    model = load_user_model(Path(features.config.weights)).model
    rows = np.unique(np.linspace(0, len(features.table.paths) - 1, N_IMAGES).round().astype(int))
    files = [images.file(features.table.paths[row]) for row in rows]
    decoded = list(decoded_images(files, features.identity.size_px, _leave_out, Stopwatch()))
    if decoded:
        pixels = np.stack([each.image for each in decoded])
        for finding in _check_statistics(model, leaves(model), _declared(features), pixels):
            LOG.info(f"WARNING: {finding.what} {' '.join(finding.evidence)} {finding.remedy}")


def examine_own_backbone(features: FeatureFile, data: Path | None) -> Examination:
    """Examine the declared preprocessing of a model, with a folder of labelled images.

    Without a BatchNormalization that tells, its accuracy on them is measured under each scaling, if
    it has an output for each of their classes.
    """
    path, size_px = Path(features.config.weights), features.identity.size_px
    described = f"{path}: the backbone of {features.path}"
    if data is None:
        return Examination(described, [not_checked("its preprocessing", "There are no images.")])
    try:
        model, sample = load_user_model(path).model, draw_sample(data, (size_px, size_px))
    except (WeightsError, DataError) as error:
        return Examination(described, [not_checked("its preprocessing", str(error))])
    found, declared = leaves(model), _declared(features)
    with calling(path):
        if findings := list(_check_statistics(model, found, declared, sample.images)):
            return Examination(described, findings)
        pixels, measured = look_at_pixels(model, found, size_px, declared), None
        if fits_outputs(model.output_shape[-1], len(sample.classes)):
            measured = measure(model, sample, [], BATCH, declared)
    return Examination(described, list(check_scaling(pixels, measured, is_frozen=True)))


def _declared(features: FeatureFile) -> str:
    return SCALING_OF[declared_as(features.identity.preprocessing)]


def _check_statistics(
    model: Any, found: list[Leaf], declared: str, images: NDArray[np.uint8]
) -> Iterator[Finding]:
    fit = fit_of(model, found, [], images)
    if fit is None or not fit.is_far(declared):
        return
    names = [DECLARED_AS[name] for name in fit.found if name in DECLARED_AS]
    remedy = "Name the preprocessing that the model was trained with"
    if names:
        remedy = f"Declare --preprocessing {' or '.join(names)}"
    yield Finding(
        "wrong-scaling",
        Severity.SEVERE,
        f"The model was trained with pixels of another scaling ({' or '.join(fit.found)}) than the "
        f"declared one ({declared}).",
        (misfit(fit, *fit.found, declared),),
        f"{remedy}, and run 'headbench features' again with --overwrite.",
    )


def _leave_out(row: int, reason: UnusableImageError) -> None:
    """Named elsewhere."""
