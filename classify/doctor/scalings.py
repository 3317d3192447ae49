"""Pixel scalings before a network, correct or not, and how to recognise them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from headbench.extract.networks.applications import (
    CAFFE,
    TF,
    TF_128_INSIDE,
    TF_INSIDE,
    TORCH,
    TORCH_INSIDE,
)

RGB, BGR = (0, 1, 2), (2, 1, 0)
# In grey levels of 255: more than rounding, and far less than the difference of any two scalings.
TOLERANCE = 0.02


@dataclass(frozen=True)
class Scaling:
    """A scaling of pixels: channels are reordered, multiplied by factors, and offsets are added.

    Attributes
    ----------
    order
        Which channel of RGB comes first, second and third.
    factor, offset
        By channel, in that order.
    """

    name: str
    words: str
    order: tuple[int, int, int] = RGB
    factor: tuple[float, float, float] = (1.0, 1.0, 1.0)
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __call__(self, pixels: NDArray[np.generic]) -> NDArray[np.float32]:
        """Scale pixels (..., 3), RGB, 0-255, which are not modified; returns float32."""
        chosen = pixels[..., list(self.order)].astype(np.float32)
        factor, offset = (np.array(each, np.float32) for each in (self.factor, self.offset))
        return chosen * factor + offset

    def then(self, other: "Scaling") -> "Scaling":
        """Both scalings in turn: this one, then `other`."""
        first, second = np.array(self.factor), np.array(other.factor)
        order = list(other.order)
        return Scaling(
            f"{self.name}, then {other.name}",
            f"{self.words}; then {other.words}",
            _three(np.array(self.order)[order]),
            _three(first[order] * second),
            _three(np.array(self.offset)[order] * second + other.offset),
        )

    def of_bgr(self) -> "Scaling":
        """The same scaling applied to BGR pixels, as OpenCV reads images."""
        name = {"raw": "bgr", "/255": "bgr/255"}.get(self.name, f"bgr-{self.name}")
        words = f"read as BGR, as OpenCV does; then {self.words}"
        return replace(self, name=name, words=words, order=_three(2 - np.array(self.order)))


def _three(values: NDArray[np.generic]) -> tuple[int, int, int]:
    first, second, third = values.tolist()
    return first, second, third


_STD = (0.229, 0.224, 0.225)
_MEAN = (0.485, 0.456, 0.406)
SCALINGS = {
    each.name: each
    for each in (
        Scaling(
            "caffe",
            "BGR, the mean of ImageNet subtracted, not scaled",
            BGR,
            offset=(-103.939, -116.779, -123.68),
        ),
        Scaling("tf", "RGB, / 127.5 - 1", factor=(1 / 127.5,) * 3, offset=(-1.0,) * 3),
        Scaling(
            "torch",
            "RGB, / 255, minus mean, over standard deviation",
            factor=(1 / (255 * _STD[0]), 1 / (255 * _STD[1]), 1 / (255 * _STD[2])),
            offset=(-_MEAN[0] / _STD[0], -_MEAN[1] / _STD[1], -_MEAN[2] / _STD[2]),
        ),
        Scaling("/255", "RGB, / 255", factor=(1 / 255,) * 3),
        Scaling("raw", "RGB as it is, 0 to 255"),
        Scaling(
            "rgb-mean",
            "RGB, the mean of ImageNet subtracted, not scaled",
            offset=(-123.68, -116.779, -103.939),
        ),
    )
}
# Each of them, applied to pixels that were read as BGR.
BGR_SCALINGS = {each.name: each for each in map(Scaling.of_bgr, SCALINGS.values())}
_TWINS = dict(zip(SCALINGS, BGR_SCALINGS, strict=True))
# Scalings inside some networks, which nobody applies before a network.
INSIDE = {
    each.name: each
    for each in (
        Scaling("/128 - 1", "RGB, / 128 - 1", factor=(1 / 128,) * 3, offset=(-1.0,) * 3),
        # EfficientNet took the deviation for a variance until Keras 2.9, and does without weights.
        Scaling(
            "root",
            "RGB, / 255, minus mean, over the root of the standard deviation",
            factor=tuple(1 / (255 * root) for root in np.sqrt(_STD)),
            offset=tuple(-mean / root for mean, root in zip(_MEAN, np.sqrt(_STD), strict=True)),
        ),
    )
}
KNOWN = SCALINGS | BGR_SCALINGS | INSIDE
# The scaling that networks of keras.applications expect, by their entry in the table of networks.
_TAKEN = {
    CAFFE: "caffe",
    TF: "tf",
    TORCH: "torch",
    **dict.fromkeys((TF_INSIDE, TF_128_INSIDE, TORCH_INSIDE), "raw"),
}


# What `preprocess_input` of each module of keras.applications does.
PREPROCESS_INPUT = {
    **dict.fromkeys(("resnet", "resnet50", "vgg16", "vgg19", "imagenet_utils"), "caffe"),
    **dict.fromkeys(("inception_resnet_v2", "inception_v3", "mobilenet", "mobilenet_v2"), "tf"),
    **dict.fromkeys(("nasnet", "resnet_v2", "xception"), "tf"),
    "densenet": "torch",
    **dict.fromkeys(("convnext", "efficientnet", "efficientnet_v2", "mobilenet_v3"), "raw"),
}


def taken_by(preprocessing: str) -> Scaling:
    """The scaling that a network expects, by its `Network.preprocessing`."""
    return SCALINGS[_TAKEN[preprocessing]]


def twin(name: str) -> str:
    """The name of the same scaling for BGR pixels."""
    return _TWINS[name]


def which_scaling(
    colors: NDArray[np.uint8], seen: NDArray[np.floating], first: Iterable[Scaling] = ()
) -> Scaling | None:
    """Recognise the scaling of some colours: one of `KNOWN`, or two of `SCALINGS` in turn.

    None if it is another one.

    Parameters
    ----------
    colors : uint8 (n, 3)
        RGB; a dozen different colours distinguish all scalings.
    seen : float (n, 3)
        The colours after scaling.
    first
        Scalings to try before the others.
    """
    before, alone = (*first, *SCALINGS.values()), KNOWN.values()
    pairs = (a.then(b) for a, b in product(before, alone) if "raw" not in (a.name, b.name))
    for scaling in (*first, *alone, *pairs):
        levels = np.abs(scaling(colors) - seen) / np.abs(scaling.factor)
        if levels.max() <= TOLERANCE:
            return scaling
    return None
