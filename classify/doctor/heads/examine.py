"""Examine all that was trained in a run."""

from collections.abc import Callable, Iterator

from cache.errors import FeatureFileError
from cache.reader import FeatureFile
from classify.doctor.finding import Examination, Finding, Severity, not_checked
from classify.doctor.heads.baseline import centroid_right, examine_baseline
from classify.doctor.heads.chance import examine_chance, examine_one_class, says_one_class
from classify.doctor.heads.labels import examine_labels, measure_agreement
from classify.doctor.heads.order import examine_class_order
from classify.doctor.heads.overfit import examine_overfit
from classify.doctor.heads.scored import Scored, TrainSample, chance, score_heads
from classify.errors import RunError
from classify.run import Run
from classify.train import check_classes
from classify.wording import count
from extract.backbones import MEAN_COLOR


def examine_heads(
    run: Run, features: FeatureFile, say: Callable[[str], None], are_wrong: bool = False
) -> Examination:
    """Examine the heads and fine-tuned networks of a run.

    Parameters
    ----------
    run : Run
    features : FeatureFile
        Its embeddings.
    say : callable
        Told of each head.
    are_wrong : bool
        Whether the embeddings were found to be wrong: then labels are not to blame.

    Returns
    -------
    Examination
    """
    names = run.names
    if not names:
        return Examination(f"{run.folder}: no heads; 'make heads' trains some.", [])
    try:
        check_classes(features)
        sample = TrainSample.of(features)
        results = list(score_heads(run, features, sample, say))
        scored = [each for each in results if isinstance(each, Scored)]
        findings = [
            *_unusable([each for each in results if isinstance(each, RunError)]),
            *(_findings(features, sample, scored, are_wrong) if scored else []),
        ]
    except (FeatureFileError, RunError) as error:
        return Examination(f"{run.folder}: {count(len(names), 'head')}.", [_why_not(error)])
    return Examination(_describe(run, features, sample, scored), findings)


def _findings(
    features: FeatureFile, sample: TrainSample, scored: list[Scored], are_wrong: bool
) -> Iterator[Finding]:
    """A finding a cause: what one explains is not said again by the next."""
    classes = features.classes
    level = chance(features.labels("train"), features.labels("val"), len(classes))
    identity = features.identity
    knows_nothing = identity.has_random_weights or identity.backbone == MEAN_COLOR
    agreement = None if are_wrong else measure_agreement(sample)
    cause = examine_labels(agreement, scored, level, knows_nothing) or examine_class_order(
        scored, classes, level
    )
    if cause:
        yield cause
        return
    yield from examine_one_class(scored, classes)
    others = [each for each in scored if not says_one_class(each)]
    yield from examine_chance(others, level, knows_nothing)
    above = [each for each in others if each.val.low > level]
    yield from examine_overfit(above)
    yield from examine_baseline(above, centroid_right(scored, features, sample))


def _unusable(errors: list[RunError]) -> Iterator[Finding]:
    if errors:
        yield Finding(
            "heads-outdated",
            Severity.WARNING,
            f"{count(len(errors), 'head')} cannot be used: damaged, or trained on other features.",
            tuple(map(str, errors)),
            "'make heads' trains again what is missing; delete what is not wanted any more.",
        )


def _why_not(error: Exception) -> Finding:
    return not_checked("heads", str(error))


def _describe(run: Run, features: FeatureFile, sample: TrainSample, scored: list[Scored]) -> str:
    n_val = len(features.rows("val"))
    best = max(scored, key=lambda each: each.val.value, default=None)
    line = (
        f"{run.folder}: {count(len(run.names), 'head')} on {count(n_val, 'image')} of val and "
        f"{len(sample.y)} of {sample.n_train} of train"
    )
    if best is None:
        return f"{line}."
    return f"{line}; the best on val is {best.name} with {100 * best.val.value:.1f} %."
