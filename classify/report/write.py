"""Write a report: ``results.json``, ``results.md`` and ``index.html``."""

import webbrowser
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.cache.disk import replace_texts
from headbench.cache.progress import Progress
from headbench.cache.reader import FeatureFile
from headbench.classify.checked import json_text
from headbench.classify.errors import RunError
from headbench.classify.inspection.embedding_map import EmbeddingMap, embedding_map, sample_rows
from headbench.classify.inspection.explanation import WORDS
from headbench.classify.inspection.mistakes import busiest_classes, similarity_order
from headbench.classify.inspection.near_duplicates import find_duplicates
from headbench.classify.intervals import Estimate
from headbench.classify.metrics import ClassMetrics
from headbench.classify.report import table, words
from headbench.classify.report.advice import advice
from headbench.classify.report.explained_mistakes import Explained, explain_mistakes
from headbench.classify.report.measure import measure, with_duplicates
from headbench.classify.report.opened_run import OpenedRun, open_run
from headbench.classify.report.page.render import render
from headbench.classify.report.photographs import (
    Card,
    Galleries,
    Thumbnails,
    details,
    duplicate_cards,
    mistake_galleries,
    suspect_cards,
)
from headbench.classify.report.pictures.classes import (
    ConfusionCells,
    class_balance,
    confusion_picture,
    describe_map,
    map_pictures,
    reliability_diagram,
)
from headbench.classify.report.pictures.heads import (
    accuracy_and_seconds,
    histories,
    learning_curves,
)
from headbench.classify.report.results import ClassCounts, Results
from headbench.classify.report.summary import WrittenReport
from headbench.classify.report.svg import Picture
from headbench.classify.report.table import as_markdown
from headbench.classify.run import Run

PAGE = "index.html"
# On the map: as many as can be told apart, and as the page can carry pictures of.
N_POINTS = 500
MAP_SEED = 0
CARD_PX, POINT_PX = 160, 64
# Classes of the confusion matrix: more could not be read.
N_CELLS = 150


@dataclass(frozen=True)
class Material:
    """What pictures are drawn from.

    Attributes
    ----------
    map_rows : intp (n_points,)
        Rows of the feature file that are on the map.
    places : EmbeddingMap
        Where they lie.
    """

    opened: OpenedRun
    results: Results
    map_rows: NDArray[np.intp]
    places: EmbeddingMap

    @cached_property
    def map_labels(self) -> NDArray[np.integer]:
        """Class of each image on the map, int (n_points,)."""
        return self.opened.features.table.labels[self.map_rows]

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """Classes, those that are often confused side by side; intp (n_classes,)."""
        return similarity_order(self.opened.y_test, self.opened.shown.test)

    @cached_property
    def cells(self) -> ConfusionCells:
        """The confusion matrix, of the classes with the most mistakes if there are many."""
        order, confusion = self.order, self.opened.confusion
        kept = order
        if len(order) > N_CELLS:
            kept = order[np.isin(order, busiest_classes(confusion, N_CELLS))]
        names = [self.opened.features.classes[label] for label in kept]
        totals = confusion.sum(axis=1)[kept]
        return ConfusionCells(names, confusion[np.ix_(kept, kept)], totals, len(order))


# By the place on the page: the template shows there whatever pictures it gets. A new picture is a
# function that draws it and a line here.
PICTURES: Mapping[str, Callable[[Material], list[Picture]]] = {
    "heads": lambda it: [accuracy_and_seconds(it.results.heads)],
    "calibration": lambda it: [reliability_diagram(it.results.shown, it.results.reliability)],
    "confusion": lambda it: [confusion_picture(it.cells)],
    "learning_curve": lambda it: (
        [learning_curves(curve)] if (curve := it.results.learning_curve) else []
    ),
    "training": lambda it: histories(it.results.heads),
    "classes": lambda it: [class_balance(it.results.features.classes)],
    "map": lambda it: map_pictures(it.places, it.map_labels, it.order),
}


@dataclass(frozen=True)
class ClassLook:
    """One class: its images, how well it is recognised, what it is most often mistaken for.

    `in_sets` is the share of its images whose prediction set holds it.
    """

    counts: ClassCounts
    metrics: ClassMetrics
    taken_for: str
    in_sets: Estimate | None


@dataclass(frozen=True)
class Looks:
    """Photographs and classes to look at.

    Attributes
    ----------
    classes : list of ClassLook
        The worst recall first.
    thumbnails : dict of int to str
        By row of the feature file.
    explained : Explained
        What spoke for the classes of mistakes.
    details : dict of int to dict
        What a click on an image shows.
    note : str
        What cannot be shown.
    data : dict
        JSON-ready, for the page's script.
    """

    classes: list[ClassLook]
    galleries: Galleries
    duplicates: list[Card]
    suspects: list[Card]
    thumbnails: dict[int, str]
    explained: Explained
    details: dict[int, dict[str, Any]]
    note: str
    data: dict[str, Any]


def write_report(
    run: Run, head: str | None = None, data: str | Path | None = None, command: str = ""
) -> Results:
    """Measure a run and write its report beside it; see `make_report`."""
    return make_report(run, head, data, command).results


def make_report(
    run: Run,
    head: str | None = None,
    data: str | Path | None = None,
    command: str = "",
    *,
    explain: bool = False,
    weights: str | None = None,
) -> WrittenReport:
    """Measure a run and write its report beside it.

    Parameters
    ----------
    head : str or None
        The head whose mistakes are shown; None for the best balanced accuracy on val.
    data : path-like, URL or None
        The folder of images, if it was moved. If it is not found, the page has no photographs and
        says so.
    command : str
        The command line that asked for the report.
    explain : bool
        Whether the network is loaded to show what spoke for the classes of mistakes. What was made
        before for the same head is shown without.
    weights : str or None
        The network's weights for that, if they were moved.

    Raises
    ------
    RunError, FeatureFileError
    """
    with FeatureFile(run.features_path) as features:
        opened = open_run(run, features, head, data, command)
        map_rows = sample_rows(features, "test", N_POINTS, MAP_SEED)
        # These take the longest. Drawing holds the interpreter; they do not.
        with ThreadPoolExecutor(1) as pool:
            on_map = pool.submit(embedding_map, features, map_rows, MAP_SEED)
            # In this thread's context, which says whether progress is shown.
            duplicates = pool.submit(copy_context().run, find_duplicates, features)
            results = measure(opened)
            material = Material(opened, results, map_rows, on_map.result())
            pictures = _draw(material)
            results = with_duplicates(results, opened, duplicates.result())
        looks = collect_looks(results, material, explain=explain, weights=weights)
        map_note = describe_map(material.places, len(opened.y_test))
    texts = {
        "results.json": json_text(results.to_json()) + "\n",
        "results.md": as_markdown(results),
        PAGE: as_page(results, pictures, looks, map_note),
    }
    replace_texts(run.report_folder, texts)
    return WrittenReport(results, pictures)


def as_page(
    results: Results, pictures: dict[str, list[Picture]], looks: Looks, map_note: str
) -> str:
    """The report as one self-contained page; every name in it is escaped.

    The template takes its sentences and tables from `words` and `table`.
    """
    return render(
        "index.html",
        title=f"{results.name}: which head?",
        data=looks.data,
        results=results,
        pictures=pictures,
        map_note=map_note,
        looks=looks,
        table=table,
        words=words,
        methods=WORDS,
        advice=advice(results),
    )


def open_report(run: Run) -> None:
    """Open the page of a run in the user's browser.

    Raises
    ------
    RunError
        If there is no report, or no browser could be started.
    """
    path = run.report_folder / PAGE
    if not path.is_file():
        raise RunError(f"{path}: no report yet. Run 'headbench report' first.")
    if not webbrowser.open(path.resolve().as_uri()):
        raise RunError(f"{path}: no browser could be started here. Open the file yourself.")


def _draw(material: Material) -> dict[str, list[Picture]]:
    with Progress("draw", len(PICTURES), "pictures") as progress:
        return {place: progress.counting(draw)(material) for place, draw in PICTURES.items()}


def collect_looks(
    results: Results, material: Material, *, explain: bool = False, weights: str | None = None
) -> Looks:
    """Choose the images to show; for `explain` and `weights` see `make_report`."""
    opened = material.opened
    galleries = mistake_galleries(opened, results.confusions)
    duplicates = duplicate_cards(results.duplicates)
    suspects = [] if results.suspects is None else suspect_cards(results.suspects)
    cards = [*duplicates, *suspects, *galleries.cards]
    on_map = material.map_rows.tolist()
    thumbnails = Thumbnails(opened.features, opened.images)
    large = thumbnails.make((card.row for card in cards), CARD_PX)
    rows = (card.row for card in galleries.mistakes)
    explained = explain_mistakes(opened, rows, thumbnails, CARD_PX, weights, is_asked=explain)
    small = thumbnails.make(on_map, POINT_PX)
    found = details(opened, [*(card.row for card in cards), *on_map])
    return Looks(
        classes=_by_class(opened, results),
        galleries=galleries,
        duplicates=duplicates,
        suspects=suspects,
        thumbnails=large,
        explained=explained,
        details=found,
        note=thumbnails.note,
        data={
            "shown": results.shown,
            "details": found,
            "matrix": material.cells.to_json(),
            "map": {
                "rows": on_map,
                "labels": material.map_labels.tolist(),
                "thumbnails": small,
            },
        },
    )


def _by_class(opened: OpenedRun, results: Results) -> list[ClassLook]:
    measured = results.head(results.shown).classes, results.prediction_sets.classes
    by_class = [
        ClassLook(counts, metrics, _taken_for(confused, label, opened.features.classes), in_sets)
        for label, (counts, metrics, in_sets, confused) in enumerate(
            zip(results.features.classes, *measured, opened.confusion, strict=True)
        )
    ]
    return sorted(
        by_class, key=lambda each: each.metrics.recall.value if each.metrics.recall else 2.0
    )


def _taken_for(confused: NDArray[np.int64], label: int, classes: Sequence[str]) -> str:
    mistakes = confused.copy()
    mistakes[label] = 0
    most = int(mistakes.argmax())
    return f"{classes[most]} ({mistakes[most]})" if mistakes[most] else "-"
