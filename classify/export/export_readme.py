"""The README of an export: what pixels it takes, an example of each format, how well it agrees."""

from collections.abc import Sequence
from typing import Any

from headbench.classify.export.examples import TREES_EXAMPLE
from headbench.classify.export.export_formats import FORMATS
from headbench.classify.export.exportable import Exportable
from headbench.classify.intervals import Estimate
from headbench.classify.wording import percent
from headbench.extract.images.decode import shorter_side_px

README_FILE = "README.md"

README = """\
# {name}: a classifier of images

Made by {made_by} from the head {name}. Network: {backbone}. Weights: {weights}.
Test accuracy: {accuracy}.
It has {n_classes} classes. Their names are in `export.json`, in the order of the probabilities.

## What it takes

| input | expected |
| --- | --- |
| orientation | turned upright by EXIF |
| transparent parts | on white |
| crop | shorter side resized to {shorter} px (antialiased bilinear), then the centre |
| size | {size} x {size} px |
| channels | RGB, the last axis |
| value range | 0 to 255 |
| preprocessing | by the model ({preprocessing}): do not divide, do not call `preprocess_input` |

Pixels in another range:

{ranges}

## Examples

{examples}

## Agreement with predict

The export runs each file on images of test and compares the result with that of headbench.
{agreement}
"""
RANGES = {
    "saved_model": """\
- `saved_model` with `image_bytes` reads the files by itself: prefer it where you can.
- `saved_model` with `pixels` (float32): an image with fractions and no value above 1 is taken for
  pixels / 255 and gets the right answer. Any value below 0 or above 255 is an error.""",
    "keras": """\
- `model.keras` (float32): an image with fractions and no value above 1 is taken for pixels / 255
  and gets the right answer. An image with a value below 0 or above 255 gets NaN, since a Keras file
  can raise no error. `argmax` of NaN is class 0, so look for NaN.""",
    "onnx": """\
- `model.onnx` (uint8) refuses floats. Do not turn pixels / 255 into uint8: that gives black
  images.""",
}


def export_readme(exported: Exportable, weights: str, names: Sequence[str], agreement: str) -> str:
    """Markdown for the folder of an export.

    Parameters
    ----------
    weights : str
        The backbone's, in words; says so where they are random.
    names : sequence of str
        Of `FORMATS`, what was written.
    agreement : str
        What the comparison with predict found.
    """
    about, size = exported.provenance, exported.size_px
    identity = about["features"]
    return README.format(
        name=exported.name,
        made_by=about["made_by"],
        backbone=identity["backbone"],
        weights=weights,
        accuracy=_accuracy(about["test"]["top_1"]),
        n_classes=len(exported.classes),
        size=size,
        shorter=shorter_side_px(size),
        preprocessing=identity["preprocessing"],
        ranges="\n".join(RANGES[each] for each in names),
        examples="\n\n".join(_examples(exported, names)),
        agreement=agreement,
    )


def _accuracy(top_1: dict[str, Any]) -> str:
    estimate = Estimate(**top_1)
    return f"{percent(estimate)} (95 % confidence interval; n = {estimate.n})"


def _examples(exported: Exportable, names: Sequence[str]) -> list[str]:
    size = exported.size_px
    # Not by format(): the code has braces of its own.
    examples = {FORMATS[each].file: FORMATS[each].example for each in names}
    if exported.trees is not None:
        note = f"These files give {exported.output}; probabilities need the trees too, as here"
        examples = {note: TREES_EXAMPLE}
    codes = {
        title: code.replace("SIZE", str(size)).replace("SHORTER", str(shorter_side_px(size)))
        for title, code in examples.items()
    }
    return [f"{title}:\n\n```python\n{code}```" for title, code in codes.items()]
