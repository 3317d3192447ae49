"""The scaling of pixels that reach the network in a model, and the one that it expects."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.classify.doctor.finding import Finding, not_checked
from headbench.classify.doctor.model.anatomy import (
    FAMILIES,
    Family,
    Leaf,
    find_family,
    first_convolution,
    input_size,
    inputs_of_layer,
)
from headbench.classify.doctor.model.measured import Condition, Measured
from headbench.classify.doctor.model.moving_statistics import Fit
from headbench.classify.doctor.scalings import (
    BGR_SCALINGS,
    KNOWN,
    SCALINGS,
    Scaling,
    which_scaling,
)

SEED, N_COLORS = 0, 16
NO_KNOWN_SCALING = "The scaling of pixels inside the model is unknown."


@dataclass(frozen=True)
class InputPixels:
    """The scaling of pixels that reach the network in a model.

    Attributes
    ----------
    family
        Family of the network; None if it is not one of `FAMILIES`.
    arrives
        For each scaling before the model, the whole scaling at the network's first convolution.
    declared
        The scaling before the model, as the user declares it; raw if the model does all scaling.
    is_assumed
        Whether `declared` is assumed because the user declares nothing.
    shown
        A sentence with three colours as that convolution sees them.
    fit
        Fit of labelled images to the first BatchNormalization; None without either.
    """

    family: Family | None
    arrives: Mapping[str, Scaling | None]
    declared: str | None
    shown: str = ""
    fit: Fit | None = None
    is_assumed: bool = False

    @property
    def taken(self) -> Scaling | None:
        """The scaling that the network expects."""
        return KNOWN[self.family.scaling] if self.family else None

    def is_taken(self, scaling: Scaling | None) -> bool:
        """Whether a scaling is correct for the network; None is an unknown scaling."""
        names = (self.family.scaling, *self.family.or_else) if self.family else ()
        return scaling in [KNOWN[name] for name in names]

    @property
    def right(self) -> str | None:
        """The scaling before the model that is correct for the network; None if there is none."""
        if self.family is None:
            return next(iter(self.fit.found), None) if self.fit else None
        return next((name for name, each in self.arrives.items() if self.is_taken(each)), None)

    @property
    def moved_to(self) -> tuple[str, ...]:
        """The scalings that fit the statistics of the first BatchNormalization after training.

        Empty if they are still those of a known network's weights: a few steps change them little.
        """
        if self.fit is None or not self.fit.is_trained:
            return ()
        is_moved = self.family is None or (self.right and self.fit.is_far(self.right))
        return self.fit.found if is_moved else ()

    @property
    def unknown(self) -> str:
        """Why arriving pixels cannot be compared with expected ones; empty if they can."""
        if self.family is None:
            return (
                "The network is unknown. Known are "
                f"{', '.join(dict.fromkeys(family.name for family in FAMILIES))}."
            )
        if self.declared and self.arrives[self.declared] is None:
            return "The scaling of pixels that reach the network is unknown."
        if self.own_work is None and self.right is None:
            return NO_KNOWN_SCALING
        return ""

    @property
    def own_work(self) -> Scaling | None:
        """The scaling inside the model; None if unknown."""
        return self.arrives["raw"]

    @property
    def is_spoilt_inside(self) -> bool:
        """Whether no scaling before the model can correct the scaling inside it."""
        own = self.own_work
        if own is None or self.taken is None or self.right is not None:
            return False
        return own != SCALINGS["raw"]


def look_at_pixels(
    model: Any, found: list[Leaf], size_px: int, declared: str | None
) -> InputPixels:
    """Find the scaling of pixels at the network's first convolution."""
    family, first = find_family(found), first_convolution(found)
    arrives = {
        name: None if first is None else arriving(model, first, size_px, scaling)
        for name, scaling in (SCALINGS | BGR_SCALINGS).items()
    }
    shown = _shown(model, first, size_px, declared or "raw")
    pixels = InputPixels(family, arrives, declared, shown)
    if declared or pixels.right != "raw":
        return pixels
    return replace(pixels, declared="raw", is_assumed=True)


def arriving(model: Any, first: Any, size_px: int, given: Scaling) -> Scaling | None:
    """The scaling of pixels at the first convolution, found with pictures of one colour each.

    Resizing and cropping do not change such pictures. None if the scaling is unknown, or the layer
    does not see three channels.

    Parameters
    ----------
    first
        Its first convolution.
    size_px
        For input sides that may have any size.
    given
        The scaling before the model.
    """
    colors = np.random.default_rng(SEED).integers(0, 256, size=(N_COLORS, 3), dtype=np.uint8)
    became = colors_at(model, first, size_px, given, colors)
    return None if became is None else which_scaling(colors, became, [given])


def colors_at(
    model: Any, first: Any, size_px: int, given: Scaling, colors: NDArray[np.uint8]
) -> NDArray[np.float32] | None:
    """Colours, uint8 (n, 3), as the first convolution sees them, float32 (n, 3); see `arriving`."""
    shape = (len(colors), *input_size(model, size_px), 3)
    images = np.broadcast_to(colors[:, None, None], shape)
    seen = inputs_of_layer(model, first, given(images))
    if seen is None or seen.ndim != 4 or seen.shape[-1] != 3:
        return None
    middle: NDArray[np.float32] = seen[:, seen.shape[1] // 2, seen.shape[2] // 2]
    return middle


def _shown(model: Any, first: Any, size_px: int, given: str) -> str:
    colors = 255 * np.eye(3, dtype=np.uint8)
    became = None if first is None else colors_at(model, first, size_px, KNOWN[given], colors)
    if became is None:
        return "No convolution of the model sees three channels."
    before = "as they are" if given == "raw" else f"{given} before the model"
    pairs = zip(("red", "green", "blue"), became.tolist(), strict=True)
    numbers = [f"{name} ({', '.join(f'{each:.4g}' for each in color)})" for name, color in pairs]
    return f"Given {before}, colours reach its first convolution as {'; '.join(numbers)}."


def not_known(pixels: InputPixels) -> Finding:
    """A note that pixels cannot be compared with what the network expects."""
    family = pixels.family
    expects = f"{family.name} expects {KNOWN[family.scaling].words}. " if family else ""
    return not_checked(
        "whether pixels reach the network with the scaling that it expects",
        f"{pixels.unknown} {expects}{pixels.shown}",
        "Compare these numbers with the documentation of the network.",
    )


def trained_on(pixels: InputPixels, measured: Measured | None) -> tuple[str, ...]:
    """The names of the scalings that the model may have been trained on.

    The declared one; else the one with the best accuracy, and those that are not clearly worse:
    batch statistics remove a scale, so that several may be equally accurate.
    """
    if pixels.declared:
        return (pixels.declared,)
    if pixels.moved_to:
        return pixels.moved_to
    if measured is None:
        return ("raw",)
    best = measured.best()
    if measured.has_learnt_nothing:
        return (pixels.right or best.scaling,)
    others = [each for each in measured.conditions(best.by_batch) if each != best]
    alike = [each.scaling for each in others if not measured.is_better(best, each)]
    return (best.scaling, *alike)


def judged_condition(pixels: InputPixels, measured: Measured) -> Condition:
    """Inference with the declared scaling; if unknown, with the one with the best accuracy."""
    wanted = trained_on(pixels, measured)
    possible = [each for each in measured.conditions(by_batch=False) if each.scaling in wanted]
    return max(possible, key=lambda each: int(measured.is_right(each).sum()))
