"""The table and its surroundings for a terminal."""

import textwrap
from typing import Any

from cache.format import Identity
from classify.intervals import Estimate
from classify.origin.cells import ORIGIN, RIGHT
from classify.wording import describe_weights, percent

TITLES = ("pixels", "trained by", "validated by", "train", "val", "most predicted")
MARKS = {RIGHT: "right", ORIGIN: "the origin", "": ""}
WIDTH = 100


def rows(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row for each cell, in the order of `TITLES`."""
    return [
        (
            each["preprocessing"],
            each["trained"],
            each["validated"],
            percent(Estimate(**each["train"])),
            percent(Estimate(**each["val"])),
            f"{100 * each['predicted_share']['value']:.0f} % {each['most_predicted']}",
        )
        for each in results["cells"]
    ]


def table_text(results: dict[str, Any]) -> str:
    """The table of the four extractions."""
    marks = [MARKS[each["role"]] for each in results["cells"]]
    table = [
        (*TITLES, ""),
        *(
            (*row, f"<- {mark}" if mark else "")
            for row, mark in zip(rows(results), marks, strict=True)
        ),
    ]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in table)


def footnote(results: dict[str, Any]) -> str:
    """How to read the table."""
    first = results["cells"][0]
    network, settings = results["network"], results["settings"]
    return (
        f"n: train {first['train']['n']}, val {first['val']['n']}. [95 % intervals: Wilson]. "
        f"Pixels: {network['scaling']} is the network's own ({network['scaling_words']}). "
        "Statistics that BatchNormalization normalises by: moving, as in inference; batch, as in "
        f"training, in random batches of {settings['batch_size']}. {settings['head']} chose its "
        "settings on val in the mode that it was trained in. Differences: paired bootstrap "
        "on val; p of McNemar's exact test, Holm-corrected."
    )


def provenance(results: dict[str, Any]) -> list[tuple[str, str]]:
    """What was measured on."""
    network, data, settings = results["network"], results["data"], results["settings"]
    identity = identity_of(results)
    splits = data["splits"]
    return [
        ("weights", describe_weights(identity, network["weights"])),
        ("network", f"{network['backbone']} at {network['size_px']} px"),
        ("data", f"{data['folder']} ({data['layout']})"),
        (
            "images",
            f"{splits['train']} train, {splits['val']} val, {len(data['classes'])} classes, "
            f"{len(data['rejected'])} rejected; {splits['test']} test are not looked at",
        ),
        ("split of the table", str(data["split"])),
        ("seed", str(settings["seed"])),
    ]


def identity_of(results: dict[str, Any]) -> Identity:
    """The identity of the embeddings done right."""
    network = results["network"]
    return Identity(**{name: network[name] for name in Identity.__dataclass_fields__})


def paragraphs(texts: list[str]) -> str:
    """Paragraphs as wide as a terminal, one after the other."""
    return "\n".join(_wrapped(text) for text in texts)


def _wrapped(text: str) -> str:
    # A number and its sign stay together: a line is broken at plain spaces alone.
    whole = text.replace(" %", "\xa0%")
    return textwrap.fill(whole, WIDTH, break_on_hyphens=False, break_long_words=False).replace(
        "\xa0", " "
    )
