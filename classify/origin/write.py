"""The page and the JSON file."""

import json
from pathlib import Path
from typing import Any

from classify.origin.epoch_sentences import explain_models, what_is_the_origins
from classify.origin.sentences import explain_cells, verdict
from classify.origin.text import MARKS, TITLES, footnote, identity_of, provenance, rows
from classify.report.page.render import render
from classify.report.pictures.origin import cells_picture, epochs_picture
from classify.wording import describe_weights

PAGE_FILE, JSON_FILE = "index.html", "results.json"
EPOCH_TITLES = ("epoch", "seconds", "loss", "acc", "top-5", "val loss", "val acc", "val top-5")


def write_origin(results: dict[str, Any], name: str, folder: Path) -> None:
    """Write both.

    Parameters
    ----------
    results : dict
        Of the table and of both models.
    name : str
        For the title.
    folder : Path
        Made if need be; the two files in it are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=2, ensure_ascii=False)
    (folder / JSON_FILE).write_text(text + "\n", "utf-8")
    (folder / PAGE_FILE).write_text(as_page(results, name), "utf-8")


def as_page(results: dict[str, Any], name: str) -> str:
    """One self-contained page; every name in it is escaped."""
    origin, mended = results["origin"], results["mended"]
    is_random = results["network"]["has_random_weights"]
    return render(
        "origin.html",
        title=f"{name}: why validation accuracy is at chance",
        data={},
        name=name,
        results=results,
        banner=describe_weights(identity_of(results), "") if is_random else "",
        provenance=provenance(results),
        titles=TITLES,
        rows=[
            (MARKS[each["role"]], row)
            for each, row in zip(results["cells"], rows(results), strict=True)
        ],
        footnote=footnote(results),
        verdict=verdict(results),
        explanation=explain_cells(results),
        cells_picture=cells_picture(results["cells"], results["chance"]["value"]),
        settings=what_is_the_origins(results),
        epoch_titles=EPOCH_TITLES,
        tables=[
            ("The origin's model", _epoch_rows(origin)),
            ("The same head on embeddings done right", _epoch_rows(mended)),
        ],
        models_explained=explain_models(results),
        epochs_picture=epochs_picture(
            origin["epochs"], mended["epochs"], origin["chance"]["value"]
        ),
    )


def _epoch_rows(model: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            str(number),
            f"{epoch['seconds']:.1f}",
            f"{epoch['loss']:.4f}",
            f"{epoch['acc']:.4f}",
            f"{epoch['top5']:.4f}",
            f"{epoch['val_loss']:.4f}",
            f"{epoch['val_acc']:.4f}",
            f"{epoch['val_top5']:.4f}",
        )
        for number, epoch in enumerate(model["epochs"], start=1)
    ]
