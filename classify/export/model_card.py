"""``MODEL_CARD.md`` of an export: what is known of the model, from the results of a report."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from headbench.cache.reader import FeatureFile
from headbench.classify.export.agreement import Agreement
from headbench.classify.export.export_formats import FORMATS
from headbench.classify.report.measure import measure
from headbench.classify.report.opened_run import OpenedRun
from headbench.classify.report.results import Results
from headbench.classify.report.table import banner, confusions, escape, markdown_table, provenance
from headbench.classify.report.words import describe_quality
from headbench.classify.run import Run, Trained
from headbench.classify.wording import describe_choice, n_bytes, percent, points
from headbench.extract.sources.source import Source

CARD_FILE = "MODEL_CARD.md"

CARD = """\
# Model card: {name}

{banner}A classifier of images into {n_classes} classes: {head} on the embeddings of {backbone}.

## Intended use, and what is unknown

- It names one of the classes below for every image, also for one that shows none of them.
- It was measured on test images of the same data: with other cameras or places it may be worse.
- Who is shown in the images, who labelled them and who may use them: unknown to headbench.
- Licence of the weights and of the data: unknown to headbench. State both before you publish.

## How it was made

{facts}

## How good it is

{quality}

## Classes, the worst recall first

{classes}

{confusions}
## Files

{files}

## How to reproduce

{commands}

Versions: {versions}.
"""


def model_card(
    run: Run,
    trained: Trained,
    features: FeatureFile,
    images: Source,
    measured: Mapping[str, Agreement],
    sizes: Mapping[str, int],
) -> str:
    """Markdown for the folder of an export.

    Parameters
    ----------
    measured : mapping of str to Agreement
        Of the formats that were measured.
    sizes : mapping of str to int
        Bytes of each format.
    """
    opened = OpenedRun(run, features, [trained], trained, images, "")
    results = measure(opened)
    [head] = results.heads
    chosen = describe_choice(head.chosen) or "nothing"
    facts = [
        *provenance(results),
        ("weights in full", results.features.identity.weights_hash),
        ("head", f"{head.name}; chosen on val: {chosen}"),
        ("fitted again on train and val", "yes" if head.is_refit else "no"),
    ]
    private = _private(run, features)
    warning = banner(results)
    return CARD.format(
        name=escape(f"{head.name} of {run.name}"),
        banner=f"**{escape(warning)}**\n\n" if warning else "",
        n_classes=len(features.classes),
        head=escape(head.name),
        backbone=escape(results.features.identity.network),
        facts=_list([_named(f"{name}: {value}", private) for name, value in facts]),
        quality=_list(describe_quality(results)),
        classes=_classes(results),
        confusions="\n".join(confusions(results)),
        files=_files(measured, sizes),
        # Indented: code, in which nothing has to be escaped.
        commands="\n".join(f"    {_named(line, private)}" for line in results.commands),
        versions=", ".join(f"{name} {each}" for name, each in results.versions.items() if each),
    )


def _private(run: Run, features: FeatureFile) -> dict[str, str]:
    """Paths of the machine that exported, and what is shown in their place."""
    paths = (str(features.config.data["folder"]), features.config.weights, str(run.folder))
    return {path: Path(path).name for path in sorted(paths, key=len, reverse=True)}


def _named(text: str, private: Mapping[str, str]) -> str:
    for path, name in private.items():
        text = text.replace(path, name)
    return text


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {escape(line)}" for line in lines)


def _classes(results: Results) -> str:
    [head] = results.heads
    rows = sorted(
        zip(results.features.classes, head.classes, strict=True),
        key=lambda row: row[1].recall.value if row[1].recall else 2.0,
    )
    cells = [
        (
            each.name,
            *map(str, (each.train, each.val, each.test)),
            percent(metrics.recall),
            percent(metrics.precision),
        )
        for each, metrics in rows
    ]
    titles = ("class", "train", "val", "test", "recall on test", "precision on test")
    return "\n".join(markdown_table(titles, cells))


def _files(measured: Mapping[str, Agreement], sizes: Mapping[str, int]) -> str:
    titles = ("file", "size", "images", "accuracy", "agreement with predict", "loss", "ms an image")
    cells = []
    for name, size in sizes.items():
        found = measured.get(name)
        rest = ("-",) * 5
        if found:
            rest = (
                str(found.accuracy.n),
                percent(found.accuracy),
                percent(found.agreement),
                points(found.loss),
                f"{found.milliseconds:.2g}",
            )
        cells.append((FORMATS[name].file, n_bytes(size), *rest))
    return "\n".join(markdown_table(titles, cells))
