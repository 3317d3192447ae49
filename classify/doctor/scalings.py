"""What people do to pixels before a network sees them, right or wrong; and which of it was done."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from headbench.extract.networks.applications import CAFFE, TF, TF_INSIDE, TORCH_INSIDE

RGB, BGR = (0, 1, 2), (2, 1, 0)
# In grey levels of 255: what rounding leaves, and far less than any two scalings differ by.
TOLERANCE = 0.02


@dataclass(frozen=True)
class Scaling:
    """A change of pixels: channels put in an order, multiplied, and something added.

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
        """Changed pixels, float32, of (..., 3), RGB, 0-255; those are not modified."""
        chosen = pixels[..., list(self.order)].astype(np.float32)
        factor, offset = (np.array(each, np.float32) for each in (self.factor, self.offset))
        return chosen * factor + offset

    def then(self, other: "Scaling") -> "Scaling":
        """Both: first self, then `other`."""
        first, second = np.array(self.factor), np.array(other.factor)
        order = list(other.order)
        return Scaling(
            f"{self.name}, then {other.name}",
            f"{self.words}; then {other.words}",
            _three(np.array(self.order)[order]),
            _three(first[order] * second),
            _three(np.array(self.offset)[order] * second + other.offset),
        )


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
# What the networks of keras.applications take, by what the table of networks says of them.
_TAKEN = {CAFFE: "caffe", TF: "tf", TF_INSIDE: "raw", TORCH_INSIDE: "raw"}


# What `preprocess_input` of each module of keras.applications does.
PREPROCESS_INPUT = {
    **dict.fromkeys(("resnet", "resnet50", "vgg16", "vgg19", "imagenet_utils"), "caffe"),
    **dict.fromkeys(("inception_resnet_v2", "inception_v3", "mobilenet", "mobilenet_v2"), "tf"),
    **dict.fromkeys(("nasnet", "resnet_v2", "xception"), "tf"),
    "densenet": "torch",
    **dict.fromkeys(("convnext", "efficientnet", "efficientnet_v2", "mobilenet_v3"), "raw"),
}


def taken_by(preprocessing: str) -> Scaling:
    """The scaling that a network takes, by its `Network.preprocessing`."""
    return SCALINGS[_TAKEN[preprocessing]]


def which_scaling(
    colors: NDArray[np.uint8], seen: NDArray[np.floating], first: Iterable[Scaling] = ()
) -> Scaling | None:
    """What was done to some colours, one of `SCALINGS` or two of them one after the other.

    None if it is another one.

    Parameters
    ----------
    colors : uint8 (n, 3)
        RGB; a dozen different ones tell all scalings apart.
    seen : float (n, 3)
        What became of them.
    first
        Tried before the others.
    """
    alone = SCALINGS.values()
    pairs = (a.then(b) for a, b in product(alone, alone) if "raw" not in (a.name, b.name))
    for scaling in (*first, *alone, *pairs):
        levels = np.abs(scaling(colors) - seen) / np.abs(scaling.factor)
        if levels.max() <= TOLERANCE:
            return scaling
    return None
