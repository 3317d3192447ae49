"""Heads that learnt train by heart."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from classify.doctor.finding import Finding, Grid, Severity
from classify.doctor.heads.scored import KNN, Scored
from classify.intervals import Estimate
from classify.wording import percent, points

# Surely more than this between train and val. Of 980 photographs of food with 2 048 columns, logreg
# and ridge, whose strength val chooses, were 36 and 18 points apart, LightGBM 53.
FAR = 0.3


class Gap(NamedTuple):
    """How much better a head is on train than on val.

    Attributes
    ----------
    scored : Scored
    difference : Estimate
    """

    scored: Scored
    difference: Estimate


def examine_overfit(scored: list[Scored]) -> Iterator[Finding]:
    """Heads whose accuracy on train is far above that on val.

    Those of the kind knn are left out: each image of train is its own nearest neighbour.
    """
    gaps = [
        Gap(each, difference(each.train, each.val))
        for each in scored
        if each.train is not None and each.kind != KNN and each.looks
    ]
    found = [each for each in gaps if each.difference.low > FAR]
    if not found:
        return
    evidence = [
        f"Accuracy on train is surely more than {100 * FAR:.0f} points above that on val; n is "
        f"{found[0].scored.train.n} of train and {found[0].scored.val.n} of val."  # type: ignore[union-attr]
    ]
    others = [each for each in gaps if each not in found]
    if others:
        best = max(others, key=lambda each: each.scored.val.value)
        evidence.append(
            f"The best of the other heads, {best.scored.name}, has {percent(best.scored.val)} of "
            f"val with {100 * best.difference.value:.0f} points between train and val."
        )
    yield Finding(
        "overfit",
        Severity.WARNING,
        f"{', '.join(each.scored.name for each in found)}: train is learnt by heart, far better "
        "than val.",
        tuple(evidence),
        "More photographs ('make heads CURVE=1' says whether they would help), a simpler head or "
        "one whose strength val chooses (ridge, logreg), more Dropout.",
        grid=Grid(
            ("head", "train", "val", "gap"),
            tuple(
                (
                    each.scored.name,
                    percent(each.scored.train),
                    percent(each.scored.val),
                    points(each.difference),
                )
                for each in found
            ),
        ),
    )


def difference(first: Estimate, second: Estimate) -> Estimate:
    """Difference of two shares of different images, with its interval.

    From both Wilson intervals (Newcombe 1998, Stat. Med. 17, 873-890, method 10); n is the smaller.
    """
    value = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value, value - below, value + above, min(first.n, second.n))
