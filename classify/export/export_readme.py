"""The README of an export: its input, an example of each format, its agreement with predict."""

from collections.abc import Mapping, Sequence
from typing import Any

from headbench.classify.export.agreement import Agreement
from headbench.classify.export.examples import TREES_EXAMPLE, with_resizing
from headbench.classify.export.export_formats import FORMATS
from headbench.classify.export.exportable import Exportable
from headbench.classify.intervals import Estimate
from headbench.classify.wording import percent
from headbench.extract.images.resizing import PADDING, Resizing
from headbench.extract.settings import CROP, FIVE_CROP, FLIP, LETTERBOX, NONE, SQUASH

README_FILE = "README.md"

README = """\
# {name}: a classifier of images

Made by {made_by} from the head {name}. Network: {backbone}. Weights: {weights}.
Test accuracy: {accuracy}.
It tells {n_classes} classes apart. `export.json` lists them in the order of the probabilities.

## Input

| input | expected |
| --- | --- |
| size | {size} x {size} px |
| before that | rotated upright by EXIF; transparent parts become white |
{resize}
| channels | RGB, on the last axis |
| value range | 0 to 255 |
| preprocessing | inside the model: {preprocessing}. Do not call `preprocess_input` or divide |
{views}
Pixels in another range:

{ranges}

## Examples

{examples}

## Which classes are possible?

`export.json` has thresholds under `prediction_sets`. The classes whose probability is at least
`min_probability`, and always the most probable one, hold the true class with the probability of
`coverage`, for images like those of the data set.

## Agreement with predict

The export runs each file on images of test and compares the result with that of headbench.
{agreement}
"""
MEASURED = """\
Images of test, each with the probabilities that predict gave (brackets: 95 % confidence intervals):

{lines}

A time is that of one thread of a processor of the machine that exported, and not of a phone."""
VIEWS = {
    "": "",
    FLIP: "| views | inside the model: the embeddings of the image and its mirror image are "
    "averaged |\n",
    FIVE_CROP: "| views | inside the model: the embeddings of its four corners and its centre are "
    "averaged |\n",
}
RESIZED = {
    CROP: "| crop | shorter side resized to {shorter} px (antialiased bilinear), then the centre |",
    SQUASH: "| resize | both sides to {size} px (antialiased bilinear); aspect ratio not kept |",
    LETTERBOX: "| resize | longer side to {size} px (antialiased bilinear), centred; the rest is "
    "RGB {padding} |",
    NONE: "| resize | none: images of another size are not for this model |",
}
RANGES = {
    "saved_model": """\
- `saved_model` with `image_bytes` decodes the files itself: use it if you can.
- `saved_model` with `pixels` (float32): an image from 0 to 1 with fractions is taken as
  pixels / 255 and gets the right answer. A value below 0 or above 255 is an error.""",
    "keras": """\
- `model.keras` (float32): an image from 0 to 1 with fractions is taken as pixels / 255 and gets the
  right answer. An image with a value below 0 or above 255 gets NaN, because a Keras file cannot
  raise an error. `argmax` of NaN is class 0, so check for NaN.""",
    **dict.fromkeys(
        ("onnx", "onnx-int8"),
        """\
- `FILE` (uint8) refuses floats. Do not convert pixels / 255 to uint8: the images would be
  black.""",
    ),
    **dict.fromkeys(
        ("tflite", "tflite-float16", "tflite-int8"),
        """\
- `FILE` (uint8) takes one image, (1, size, size, 3). On Android give it the bytes of an RGB bitmap
  in a direct `ByteBuffer`, on iOS in `Data`; do not divide or normalise. Names of the classes are
  in `labels.txt`, in the zip archive behind the model.""",
    ),
}


def export_readme(
    exported: Exportable,
    weights: str,
    names: Sequence[str],
    agreement: str,
    measured: Mapping[str, Agreement],
) -> str:
    """Markdown for the folder of an export.

    Parameters
    ----------
    weights : str
        The backbone's weights, in words.
    names : sequence of str
        The formats that were written.
    agreement : str
        Result of the comparison with predict.
    measured : mapping of str to Agreement
        Of the formats that were measured on more images.
    """
    lines = "\n".join(f"- {line}" for line in measured_lines(measured))
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
        resize=_resized(exported.resizing),
        preprocessing=identity["preprocessing"],
        views=VIEWS[identity["views"]],
        ranges="\n".join(RANGES[each].replace("FILE", FORMATS[each].file) for each in names),
        examples="\n\n".join(_examples(exported, names)),
        agreement="\n\n".join(
            filter(None, [agreement, MEASURED.format(lines=lines) if measured else ""])
        ),
    )


def measured_lines(measured: Mapping[str, Agreement]) -> list[str]:
    """A line for each format."""
    return [f"{name}: {found}" for name, found in measured.items()]


def _accuracy(top_1: dict[str, Any]) -> str:
    estimate = Estimate(**top_1)
    return f"{percent(estimate)} (95 % confidence interval; n = {estimate.n})"


def _examples(exported: Exportable, names: Sequence[str]) -> list[str]:
    # Not by format(): the code has braces of its own.
    examples = {FORMATS[each].file: FORMATS[each].example for each in names}
    if exported.trees is not None:
        note = f"These files give {exported.output}. The trees turn them into probabilities"
        examples = {note: TREES_EXAMPLE}
    codes = {title: with_resizing(code, exported.resizing) for title, code in examples.items()}
    return [f"{title}:\n\n```python\n{code}```" for title, code in codes.items()]


def _resized(resizing: Resizing) -> str:
    return RESIZED[resizing.rule].format(
        size=resizing.size_px, shorter=resizing.shorter_px, padding=PADDING
    )
