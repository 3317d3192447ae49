"""Which images to look at."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from classify.report.findings import describe_row
from classify.report.source import Source

N_CARDS = 24
N_GALLERY_PAIRS, N_OF_PAIR = 6, 6
N_TOP = 5


class Card(NamedTuple):
    """One image of a gallery.

    Attributes
    ----------
    row : int
        Of the feature file.
    caption : tuple of str
        What stands below it, a line each.
    """

    row: int
    caption: tuple[str, ...]


class Gallery(NamedTuple):
    """Some images with a heading."""

    title: str
    note: str
    cards: list[Card]


class Galleries(NamedTuple):
    """What a head has wrong, and what it has right by little."""

    confident: Gallery
    pairs: list[Gallery]
    right: Gallery

    @property
    def cards(self) -> list[Card]:
        """Of all of them."""
        return [card for each in (self.confident, *self.pairs, self.right) for card in each.cards]


def mistake_galleries(source: Source, confusions: Sequence[dict[str, Any]]) -> Galleries:
    """The most confident mistakes, the most confused pairs, the least confident right ones."""
    y, proba = source.y_test, source.shown.test
    given, confidence = proba.argmax(axis=1), proba.max(axis=1)
    wrong, right = np.flatnonzero(given != y), np.flatnonzero(given == y)
    # What was confused once is among the mistakes, and no habit.
    often = [each for each in confusions if each["n"] > 1]
    return Galleries(
        Gallery(
            "Most confident mistakes",
            "Wrong, and sure of it: look for wrong labels and for pictures that show two things.",
            _cards(source, wrong[np.argsort(-confidence[wrong], kind="stable")][:N_CARDS]),
        ),
        [_pair(source, each) for each in often[:N_GALLERY_PAIRS]],
        Gallery(
            "Least confident right ones",
            "Right by little: more pictures like these would help the most.",
            _cards(source, right[np.argsort(confidence[right], kind="stable")][:N_CARDS]),
        ),
    )


def suspect_cards(suspects: dict[str, Any]) -> list[Card]:
    """Images that look mislabelled, the most suspicious first."""
    return [
        Card(
            each["row"],
            (
                f"labelled {each['class']} ({each['probability']:.2f})",
                f"looks like {each['looks_like']} ({each['its_probability']:.2f})",
                each["split"],
            ),
        )
        for each in suspects["images"][:N_CARDS]
    ]


def duplicate_cards(duplicates: dict[str, Any]) -> list[Card]:
    """Pairs of copies, the two of a pair side by side."""
    return [
        Card(
            each["row"],
            (
                f"{each['class']}, {each['split']}",
                "same file" if pair["is_exact"] else f"similarity {pair['similarity']:.3f}",
            ),
        )
        for pair in duplicates["pairs"][: N_CARDS // 2]
        for each in (pair["first"], pair["second"])
    ]


def details(source: Source, rows: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Path, truth and, for images of test, the five most probable classes of some rows."""
    in_test = {int(row): index for index, row in enumerate(source.features.rows("test"))}
    return {
        row: {
            **describe_row(source, row),
            "top": _top(source, in_test[row]) if row in in_test else None,
        }
        for row in sorted(set(rows))
    }


def _pair(source: Source, confusion: dict[str, Any]) -> Gallery:
    true, given = (source.features.classes.index(confusion[key]) for key in ("true", "given"))
    proba = source.shown.test
    both = np.flatnonzero((source.y_test == true) & (proba.argmax(axis=1) == given))
    ordered = both[np.argsort(-proba[both, given], kind="stable")]
    return Gallery(
        f"{confusion['true']} taken for {confusion['given']}",
        f"{confusion['n']} of {confusion['of']} images.",
        _cards(source, ordered[:N_OF_PAIR]),
    )


def _cards(source: Source, indices: NDArray[np.intp]) -> list[Card]:
    rows = source.features.rows("test")
    return [Card(int(rows[index]), _caption(source, index)) for index in indices]


def _caption(source: Source, index: int) -> tuple[str, ...]:
    classes, y, proba = source.features.classes, source.y_test[index], source.shown.test[index]
    given, probability = proba.argmax(), f"({proba.max():.2f})"
    if given == y:
        return (f"{classes[y]} {probability}",)
    return (f"true: {classes[y]}", f"given: {classes[given]} {probability}")


def _top(source: Source, index: int) -> list[tuple[str, float]]:
    proba = source.shown.test[index]
    best = np.argsort(-proba, kind="stable")[:N_TOP]
    return [(source.features.classes[label], round(float(proba[label]), 4)) for label in best]
