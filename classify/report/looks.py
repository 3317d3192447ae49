"""What the page shows besides numbers and pictures: photographs, and the facts behind a click."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.intervals import Estimate
from classify.report.drawings import Drawings
from classify.report.gallery import (
    Card,
    Galleries,
    details,
    duplicate_cards,
    mistake_galleries,
    suspect_cards,
)
from classify.report.source import Source
from classify.report.thumbnails import Thumbnails

CARD_PX, POINT_PX = 160, 64


@dataclass(frozen=True)
class Looks:
    """Photographs and classes to look at.

    Attributes
    ----------
    classes : list of dict
        By class, the worst recall first.
    galleries : Galleries
        Of mistakes.
    duplicates, suspects : list of Card
    thumbnails : dict of int to str
        By row of the feature file.
    details : dict of int to dict
        What a click on an image shows.
    note : str
        What cannot be shown.
    data : dict
        JSON-ready, for the page's script.
    """

    classes: list[dict[str, Any]]
    galleries: Galleries
    duplicates: list[Card]
    suspects: list[Card]
    thumbnails: dict[int, str]
    details: dict[int, dict[str, Any]]
    note: str
    data: dict[str, Any]


def collect_looks(
    source: Source, results: dict[str, Any], map_rows: NDArray[np.intp], drawings: Drawings
) -> Looks:
    """Choose the images to show.

    Parameters
    ----------
    source : Source
    results : dict
        Of the same source, whole.
    map_rows : intp (n_points,)
        Rows of the feature file that are on the map.
    drawings : Drawings
    """
    galleries = mistake_galleries(source, results["confusions"])
    duplicates = duplicate_cards(results["duplicates"])
    suspects = [] if results["suspects"] is None else suspect_cards(results["suspects"])
    cards = [*duplicates, *suspects, *galleries.cards]
    on_map = map_rows.tolist()
    thumbnails = Thumbnails(source.features, source.images)
    large = thumbnails.make((card.row for card in cards), CARD_PX)
    small = thumbnails.make(on_map, POINT_PX)
    found = details(source, [*(card.row for card in cards), *on_map])
    labels = source.features.table.labels[map_rows].tolist()
    return Looks(
        classes=_by_class(source, results),
        galleries=galleries,
        duplicates=duplicates,
        suspects=suspects,
        thumbnails=large,
        details=found,
        note=thumbnails.note,
        data={
            "shown": results["shown"],
            "details": found,
            "matrix": drawings.matrix,
            "map": {"rows": on_map, "labels": labels, "thumbnails": small},
        },
    )


def _by_class(source: Source, results: dict[str, Any]) -> list[dict[str, Any]]:
    shown = next(head for head in results["heads"] if head["name"] == results["shown"])
    confusion = source.confusion
    by_class = [
        {
            **counts,
            **{name: each and Estimate(**each) for name, each in measured.items()},
            "taken_for": _taken_for(confusion[label], label, source.features.classes),
        }
        for label, (counts, measured) in enumerate(
            zip(results["features"]["classes"], shown["classes"], strict=True)
        )
    ]
    return sorted(by_class, key=lambda each: each["recall"].value if each["recall"] else 2.0)


def _taken_for(counts: NDArray[np.int64], label: int, classes: Sequence[str]) -> str:
    mistakes = counts.copy()
    mistakes[label] = 0
    most = int(mistakes.argmax())
    return f"{classes[most]} ({mistakes[most]})" if mistakes[most] else "-"
