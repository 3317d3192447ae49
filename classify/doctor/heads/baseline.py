"""Heads that the simplest one beats."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cache.reader import FeatureFile
from classify.compare import SIGNIFICANT, compare_right, holm
from classify.doctor.finding import Finding, Grid, Severity
from classify.doctor.heads.scored import CENTROID, Scored, TrainSample
from classify.heads.simple import Centroid
from classify.wording import p_value, percent, points


def centroid_right(
    scored: list[Scored], features: FeatureFile, sample: TrainSample
) -> NDArray[np.bool_]:
    """Whether the nearest class mean has each image of val right, bool (n_val,).

    That of the run; where it trained none, one of the sample of train, which is rather worse.
    """
    for each in scored:
        if each.kind == CENTROID:
            return each.is_right
    head = Centroid().fit(sample.X, sample.y)
    return np.concatenate([head.predict(X) == y for X, y in features.blocks("val")])


def examine_baseline(scored: list[Scored], centroid: NDArray[np.bool_]) -> Iterator[Finding]:
    """Heads that have fewer images of val right than the nearest class mean.

    Parameters
    ----------
    scored : list of Scored
        Those that no other finding explains.
    centroid : bool (n_val,)
        Which ones that has right.
    """
    others = [each for each in scored if each.looks and each.kind != CENTROID]
    pairs = [compare_right({"head": each.is_right, "centroid": centroid})[0] for each in others]
    corrected = holm([pair.p for pair in pairs]) if pairs else []
    found = [
        (each, pair.difference, p)
        for each, pair, p in zip(others, pairs, corrected, strict=True)
        if pair.difference.high < 0 and p < SIGNIFICANT
    ]
    if not found:
        return
    yield Finding(
        "worse-than-centroid",
        Severity.WARNING,
        f"{', '.join(each.name for each, *_ in found)}: worse on val than the nearest class mean, "
        "the simplest head there is.",
        (
            f"The nearest class mean has {100 * centroid.mean():.1f} % of {len(centroid)} images "
            "of val right. Compared image by image; p is McNemar's, corrected for the number of "
            "heads (Holm).",
        ),
        "Its settings are wrong for these embeddings, or its training stopped too early: 'make "
        "heads AGAIN=1' trains it with the defaults. Use another head until then.",
        grid=Grid(
            ("head", "val", "against centroid", "p"),
            tuple(
                (each.name, percent(each.val), points(gap), p_value(p)) for each, gap, p in found
            ),
        ),
    )
