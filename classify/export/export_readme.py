"""The texts beside an export: how to use it, and how good it is and how it was made."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from headbench.classify.export.agreement import Agreement
from headbench.classify.export.examples import EXAMPLES, TREES_EXAMPLE, with_resizing
from headbench.classify.export.export_formats import FORMATS
from headbench.classify.export.exportable import Exportable
from headbench.classify.report.measure import measure
from headbench.classify.report.opened_run import OpenedRun
from headbench.classify.report.results import Results
from headbench.classify.report.table import banner, confusions, escape, markdown_table, provenance
from headbench.classify.report.words import describe_quality
from headbench.classify.wording import describe_choice, n_bytes, percent
from headbench.extract.settings import FIVE_CROP, FLIP

README_FILE, CARD_FILE = "README.md", "MODEL_CARD.md"

README = """\
# {name}: a classifier of images

{banner}{head} on the embeddings of {backbone}. It tells {n_classes} classes apart; `export.json`
lists them in the order of the probabilities. Made by {made_by}. `MODEL_CARD.md` says how good it is
and how it was made.

## Input

| input | expected |
| --- | --- |
| size | {size} x {size} px |
| before that | {resize} |
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

## Files, and their agreement with predict

The export runs each file on images of test and compares the result with that of headbench.
{agreement}

{files}

Brackets are 95 % confidence intervals. A time is that of one thread of a processor of the machine
that exported, and not of a phone.
"""
CARD = """\
# Model card: {name}

{banner}{head} on the embeddings of {backbone}, for {n_classes} classes. `README.md` shows how to
use it.

## Intended use, and what is unknown

- It names one of its classes for every image, also for one that shows none of them.
- It was measured on test images of the same data: with other cameras or places it may be worse.
- Who is shown in the images, who labelled them and who may use them: unknown to headbench.
- Licence of the weights and of the data: unknown to headbench. State both before you publish.

## How good it is

{quality}

## Classes, the worst recall first

{classes}

{confusions}
## How it was made

{facts}

{commands}

Versions: {versions}.
"""
VIEWS = {FLIP: "the image and its mirror image", FIVE_CROP: "its four corners and its centre"}
RANGES = {
    "saved_model": """\
- `saved_model` with `image_bytes` decodes the files itself: use it if you can.
- `saved_model` with `pixels` (float32): an image from 0 to 1 with fractions is taken as
  pixels / 255 and gets the right answer. A value below 0 or above 255 is an error.""",
    "keras": """\
- `model.keras` (float32): an image from 0 to 1 with fractions is taken as pixels / 255 and gets the
  right answer. An image with a value below 0 or above 255 gets NaN, because a Keras file cannot
  raise an error. `argmax` of NaN is class 0, so check for NaN.""",
    "onnx": """\
- `FILE` (uint8) refuses floats. Do not convert pixels / 255 to uint8: the images would be
  black.""",
    "tflite": """\
- `FILE` (uint8) takes one image, (1, size, size, 3). On Android give it the bytes of an RGB bitmap
  in a direct `ByteBuffer`, on iOS in `Data`; do not divide or normalise. Names of the classes are
  in `labels.txt`, in the zip archive behind the model.""",
}


def export_texts(
    exported: Exportable,
    opened: OpenedRun,
    sizes: Mapping[str, int],
    agreement: str,
    measured: Mapping[str, Agreement],
) -> dict[str, str]:
    """Markdown for the folder of an export, by the name of the file.

    Parameters
    ----------
    opened : OpenedRun
        With the exported head alone.
    sizes : mapping of str to int
        Bytes of each format that was written.
    agreement : str
        Result of the comparison with predict.
    measured : mapping of str to Agreement
        Of the formats that were measured on more images.
    """
    results = measure(opened)
    [head], identity, warning = results.heads, results.features.identity, banner(results)
    facts = [
        *provenance(results),
        ("weights in full", identity.weights_hash),
        ("head", f"{head.name}; chosen on val: {describe_choice(head.chosen) or 'nothing'}"),
        ("fitted again on train and val", "yes" if head.is_refit else "no"),
    ]
    averaged = f"inside the model: the embeddings of {VIEWS.get(identity.views)} are averaged"
    texts = {README_FILE: README, CARD_FILE: CARD}
    values = {
        "name": escape(f"{head.name} of {opened.run.name}"),
        "banner": f"**{escape(warning)}**\n\n" if warning else "",
        "head": escape(head.name),
        "backbone": escape(identity.network),
        "n_classes": len(exported.classes),
        "made_by": exported.provenance["made_by"],
        "size": exported.size_px,
        "resize": identity.resize,
        "preprocessing": identity.preprocessing,
        "views": f"| views | {averaged} |\n" if identity.views else "",
        "ranges": "\n".join(
            RANGES[_kind(name)].replace("FILE", FORMATS[name].file) for name in sizes
        ),
        "examples": "\n\n".join(_examples(exported, list(sizes))),
        "agreement": agreement,
        "files": _list(
            f"{FORMATS[name].file}: {measured.get(name) or n_bytes(size)}"
            for name, size in sizes.items()
        ),
        "quality": _list(describe_quality(results)),
        "classes": _classes(results),
        "confusions": "\n".join(confusions(results)),
        "facts": _list(_without_paths([f"{name}: {value}" for name, value in facts], opened)),
        # Indented: code, in which nothing has to be escaped.
        "commands": "\n".join(f"    {line}" for line in _without_paths(results.commands, opened)),
        "versions": ", ".join(f"{name} {each}" for name, each in results.versions.items() if each),
    }
    return {file: text.format(**values) for file, text in texts.items()}


def _kind(name: str) -> str:
    return name.split("-")[0]


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {escape(line)}" for line in lines)


def _without_paths(lines: Sequence[str], opened: OpenedRun) -> list[str]:
    """Lines with mere names in place of paths of the machine that exports."""
    config = opened.features.config
    paths = (str(config.data["folder"]), config.weights, str(opened.run.folder))
    for path in sorted(paths, key=len, reverse=True):
        lines = [line.replace(path, Path(path).name) for line in lines]
    return list(lines)


def _classes(results: Results) -> str:
    [head] = results.heads
    rows = sorted(
        zip(results.features.classes, head.classes, strict=True),
        key=lambda row: row[1].recall.value if row[1].recall else 2.0,
    )
    titles = ("class", "train", "val", "test", "recall on test", "precision on test")
    cells = [
        (
            each.name,
            *map(str, (each.train, each.val, each.test)),
            percent(metrics.recall),
            percent(metrics.precision),
        )
        for each, metrics in rows
    ]
    return "\n".join(markdown_table(titles, cells))


def _examples(exported: Exportable, names: Sequence[str]) -> list[str]:
    # Not by format(): the code has braces of its own.
    files = {name: FORMATS[name].file for name in names}
    examples = {file: EXAMPLES[_kind(name)].replace("FILE", file) for name, file in files.items()}
    if exported.trees is not None:
        note = f"These files give {exported.output}. The trees turn them into probabilities"
        examples = {note: TREES_EXAMPLE}
    codes = {title: with_resizing(code, exported.resizing) for title, code in examples.items()}
    return [f"{title}:\n\n```python\n{code}```" for title, code in codes.items()]
