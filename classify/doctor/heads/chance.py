"""Heads that say nothing of the images of val."""

from collections.abc import Iterator

import numpy as np

from classify.bootstrap import wilson
from classify.doctor.chance import gives_one_class, is_chance, may_be_chance
from classify.doctor.finding import Finding, Grid, Severity
from classify.doctor.heads.scored import Scored
from classify.wording import percent, some

NEARLY_ALL = 0.95
ALONE = (
    "It was trained on other labels, or did not learn: 'make heads AGAIN=1' trains it again. Use "
    "another head until then."
)
ALL = (
    "It is not one head: look at the embeddings and at the labels. Other findings may name the "
    "cause; 'make doctor' with images and weights (--weights PATH) at hand sees most."
)


def says_one_class(scored: Scored) -> bool:
    """Whether nearly all images of val are given one class, and surely too many."""
    return gives_one_class(scored.predicted, scored.y_val, NEARLY_ALL)


def examine_one_class(scored: list[Scored], classes: tuple[str, ...]) -> Iterator[Finding]:
    """Heads that give one class to everything."""
    found = [each for each in scored if each.looks and says_one_class(each)]
    if not found:
        return
    rows = []
    for each in found:
        counts = np.bincount(each.predicted, minlength=len(classes))
        label = int(counts.argmax())
        true = wilson(int((each.y_val == label).sum()), len(each.y_val))
        given = wilson(int(counts[label]), len(each.y_val))
        rows.append((each.name, classes[label], percent(given), percent(true), percent(each.val)))
    yield Finding(
        "one-class-predicted",
        Severity.SEVERE,
        f"{_names(found)}: one class is predicted for nearly every image of val.",
        (f"Of {found[0].val.n} images of val.",),
        "Such a head did not learn, or forgot: a learning rate that is far too large, class "
        "weights that drown the others, or embeddings on another scale than it was trained on. "
        "'make heads AGAIN=1' trains it with the defaults.",
        grid=Grid(("head", "class", "given", "true", "val"), tuple(rows)),
    )


def examine_chance(scored: list[Scored], level: float, knows_nothing: bool) -> Iterator[Finding]:
    """Heads at chance on val.

    Severe where no head is better: then no classifier comes of the run.

    Parameters
    ----------
    scored : list of Scored
        Those that no other finding explains.
    level : float
        Chance on val.
    knows_nothing : bool
        Whether the backbone never saw an image: then chance is what it is good for.
    """
    looking = [each for each in scored if each.looks]
    found = [each for each in looking if is_chance(each.val, level)]
    unsure = [each for each in looking if may_be_chance(each.val, level) and each not in found]
    if found:
        better = [each.name for each in looking if not may_be_chance(each.val, level)]
        yield _at_chance(found, better, level, knows_nothing)
    if unsure:
        yield Finding(
            "val-too-small",
            Severity.NOTE,
            f"{_names(unsure)}: val is too small to tell from chance.",
            (
                f"Chance is {100 * level:.1f} %, and {unsure[0].val.n} images of val leave both "
                "possible.",
            ),
            "Cross-validation looks at more images: 'make heads FOLDS=5'.",
            grid=_grid(unsure),
        )


def _at_chance(
    found: list[Scored], better: list[str], level: float, knows_nothing: bool
) -> Finding:
    evidence = [f"Chance is {100 * level:.1f} %: the class that train has most of, or a guess."]
    if better:
        evidence.append(f"On the same embeddings {some(better)} did better.")
    if knows_nothing:
        evidence.append("The embeddings are those of a backbone that never learnt from images.")
    return Finding(
        "val-at-chance",
        Severity.WARNING if better or knows_nothing else Severity.SEVERE,
        f"{_names(found)}: validation accuracy is at chance.",
        tuple(evidence),
        ALONE if better else ALL,
        grid=_grid(found),
    )


def _grid(scored: list[Scored]) -> Grid:
    rows = tuple((each.name, percent(each.train), percent(each.val)) for each in scored)
    return Grid(("head", "train", f"val (n={scored[0].val.n})"), rows)


def _names(scored: list[Scored]) -> str:
    return ", ".join(each.name for each in scored)
