"""Findings about the heads and fine-tuned networks of a run."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headbench.cache.errors import FeatureFileError
from headbench.cache.progress import Progress
from headbench.cache.reader import FeatureFile
from headbench.classify.doctor.chance import (
    N_SHUFFLES,
    Agreement,
    chance,
    difference,
    gives_one_class,
    is_chance,
    may_be_chance,
    measure_agreement,
    rename,
)
from headbench.classify.doctor.finding import Examination, Finding, Grid, Severity, not_checked
from headbench.classify.errors import RunError
from headbench.classify.heads.registry import load_trained_head
from headbench.classify.heads.simple import Centroid
from headbench.classify.intervals import SIGNIFICANT, Estimate, compare_right, holm, wilson
from headbench.classify.metrics import accuracy
from headbench.classify.run import Run, Trained, is_finetuned
from headbench.classify.train_heads import check_classes, class_proba
from headbench.classify.wording import count, p_value, percent, points, share, some, with_n
from headbench.extract.networks.applications import MEAN_COLOR

LOG = logging.getLogger(__name__)

PRIOR, KNN, CENTROID = "Prior", "KNN", "Centroid"
MOST_TRAIN_ROWS = 3000
NEARLY_ALL = 0.95
# Train accuracy certainly exceeds validation accuracy by more than this. On 980 photographs of food
# with 2 048 columns, the gap of logreg and ridge, which are regularised on val, was 36 and 18
# points, that of LightGBM 53.
OVERFIT_GAP = 0.3
# A gain in accuracy that may be smaller than this is no evidence of another class order.
SMALLEST_GAIN = 0.05
BLIND = "The backbone was never trained on images."
AGAIN = "Train with the defaults: 'headbench heads --again'. Use another head until then."


@dataclass(frozen=True)
class TrainSample:
    """A sample of train, evenly spread over its rows; all of train if it is small.

    X is (n, dim), y (n,); `n_train` is the number of images in the whole of train.
    """

    X: NDArray[np.float32]
    y: NDArray[np.int32]
    n_train: int

    @classmethod
    def of(cls, features: FeatureFile) -> "TrainSample":
        """Read the sample."""
        rows = features.rows("train")
        n = min(len(rows), MOST_TRAIN_ROWS)
        chosen = rows[np.linspace(0, len(rows) - 1, n).round().astype(np.intp)]
        return cls(features.read(chosen), features.table.labels[chosen], len(rows))


@dataclass(frozen=True)
class Scored:
    """A head with its predictions on val, int (n_val,), and its accuracy.

    Attributes
    ----------
    kind
        Class of the head, such as ``LogReg``; ``network`` for a fine-tuned network.
    train
        Accuracy on a `TrainSample`; None for a fine-tuned network, which needs the images.
    """

    name: str
    kind: str
    y_val: NDArray[np.int32]
    predicted: NDArray[np.intp]
    val: Estimate
    train: Estimate | None

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """Whether each image of val is correctly classified, bool (n_val,)."""
        return np.asarray(self.predicted == self.y_val)

    @property
    def looks(self) -> bool:
        """Whether the head uses the embeddings: `prior` does not."""
        return self.kind != PRIOR


def score_heads(
    run: Run, features: FeatureFile, sample: TrainSample
) -> Iterator[Scored | RunError]:
    """Score each head of a run; an error for each that cannot be used."""
    y_val, names = features.labels("val"), run.names
    LOG.info(f"{run.folder}: measuring heads on val and {len(sample.y)} images of train")
    with Progress("measure", len(names), "heads") as progress:
        for name in names:
            try:
                yield _score(run.find(name, features), y_val, sample)
            except RunError as error:
                yield error
            progress.update()


def _score(trained: Trained, y_val: NDArray[np.int32], sample: TrainSample) -> Scored:
    record = trained.record
    kind, train = "network", None
    if not is_finetuned(record.name):
        kind = str(record.settings.get("kind"))
        proba = class_proba(load_trained_head(trained), sample.X, len(record.classes))
        train = accuracy(sample.y, proba)
    val = accuracy(y_val, trained.val)
    return Scored(record.name, kind, y_val, trained.val.argmax(axis=1), val, train)


def centroid_right(
    scored: list[Scored], features: FeatureFile, sample: TrainSample
) -> NDArray[np.bool_]:
    """Whether the nearest class mean correctly classifies each image of val, bool (n_val,).

    The head of the run; if the run has none, one fitted on the sample of train.
    """
    for each in scored:
        if each.kind == CENTROID:
            return each.is_right
    head = Centroid().fit(sample.X, sample.y)
    return np.concatenate([head.predict(X) == y for X, y in features.blocks("val")])


def examine_heads(run: Run, features: FeatureFile) -> Examination:
    """Examine the heads and fine-tuned networks that were trained on a feature file."""
    names = run.names
    if not names:
        return Examination(f"{run.folder}: no heads; 'headbench heads' trains some.", [])
    try:
        check_classes(features)
        sample = TrainSample.of(features)
        results = list(score_heads(run, features, sample))
        scored = [each for each in results if isinstance(each, Scored)]
        findings = [
            *_unusable([str(each) for each in results if isinstance(each, RunError)]),
            *(_findings(features, sample, scored) if scored else []),
        ]
    except (FeatureFileError, RunError) as error:
        line = f"{run.folder}: {count(len(names), 'head')}."
        return Examination(line, [not_checked("heads", str(error))])
    return Examination(_describe(run, features, sample, scored), findings)


def _findings(
    features: FeatureFile, sample: TrainSample, scored: list[Scored]
) -> Iterator[Finding]:
    """All findings; a head that one finding explains is left out of the next one."""
    classes, identity = features.classes, features.identity
    level = chance(features.labels("train"), features.labels("val"), len(classes))
    is_blind = identity.has_random_weights or identity.backbone == MEAN_COLOR
    agreement = measure_agreement(sample.X, sample.y)
    shuffled = check_labels(agreement, scored, level, is_blind)
    if shuffled:
        yield shuffled
    elif order := check_class_order(scored, classes, level):
        yield order
        return  # the heads chose their settings on wrong labels: nothing else holds of them
    yield from check_one_class(scored, classes)
    others = [each for each in scored if not gives_one(each)]
    if not shuffled:  # that finding says already that all are at chance
        yield from check_chance(others, level, is_blind)
    above = [each for each in others if each.val.low > level]
    yield from check_overfit(above)
    yield from check_centroid(above, centroid_right(scored, features, sample))


def _describe(run: Run, features: FeatureFile, sample: TrainSample, scored: list[Scored]) -> str:
    n_val = len(features.rows("val"))
    line = (
        f"{run.folder}: {count(len(run.names), 'head')} on {count(n_val, 'image')} of val and "
        f"{len(sample.y)} of {sample.n_train} of train"
    )
    if not scored:
        return f"{line}."
    best = _best(scored)
    return f"{line}; {best.name} has the best validation accuracy, {percent(best.val)}."


def _unusable(errors: list[str]) -> Iterator[Finding]:
    if errors:
        yield Finding(
            "heads-outdated",
            Severity.WARNING,
            f"{count(len(errors), 'head')} cannot be used: damaged, or trained on other features.",
            tuple(errors),
            "Run 'headbench heads' to train them again, or delete those you no longer need.",
        )


def check_labels(
    agreement: Agreement | None, scored: list[Scored], level: float, is_blind: bool
) -> Finding | None:
    """Labels that look shuffled; a backbone that was never trained on images is another cause."""
    looking = [each for each in scored if each.looks]
    if agreement is None or not agreement.is_chance or not looking:
        return None
    if any(each.val.low > level for each in looking):
        return None
    best = _best(looking)
    low, high = np.quantile(agreement.shuffled, [0.025, 0.975])
    return Finding(
        "labels-look-shuffled",
        Severity.WARNING if is_blind else Severity.SEVERE,
        "Labels look shuffled: train images with the same label are no more alike than others.",
        (
            f"{share(agreement.share)} of the {count(agreement.n_neighbors, 'nearest neighbour')} "
            f"of an image have its label (n = {agreement.n}). With shuffled labels it is "
            f"{100 * low:.1f} to {100 * high:.1f} % (95 % of {N_SHUFFLES} shuffles).",
            f"The best head, {best.name}, has a validation accuracy of {with_n(best.val)}. Chance "
            f"is {share(level)}.",
        ),
        "Compare some images with their labels. Usual causes: a list of labels in another order "
        "than the files, a generator with shuffle=True, a table joined on the wrong column."
        + (
            " The backbone may also be the cause: it was never trained on images."
            if is_blind
            else ""
        ),
    )


def check_class_order(
    scored: list[Scored], classes: tuple[str, ...], level: float
) -> Finding | None:
    """Val labels that number the classes in another order than the train labels."""
    candidates = [
        each
        for each in scored
        if each.looks and each.train is not None and each.train.low > max(level, each.val.high)
    ]
    renamed = [rename(each.y_val, each.predicted, len(classes)) for each in candidates]
    corrected = holm([each.p for each in renamed]) if renamed else []
    found = [
        (each, order)
        for each, order, p in zip(candidates, renamed, corrected, strict=True)
        if p < SIGNIFICANT and order.gain.low > SMALLEST_GAIN
    ]
    if not found:
        return None
    names = max((order for _, order in found), key=lambda order: order.top1.value).names
    moved = np.flatnonzero(names != np.arange(len(classes))).tolist()
    renamed_to = [f"{classes[label]} in val is {classes[names[label]]} in train" for label in moved]
    return Finding(
        "val-labels-in-another-order",
        Severity.SEVERE,
        "Val numbers its classes in another order than train.",
        (
            f"If {len(moved)} of {len(classes)} classes of val are renamed, the heads are accurate "
            "there too. The names were found on one half of val and their gain was measured on the "
            "other half; then the halves were swapped.",
            f"Classes: {some(renamed_to)}.",
        ),
        "Use one list of class names for all splits, as 'headbench features' does. Two Keras "
        "generators number the classes separately, each by the folders that it finds. Train the "
        "heads again, since they chose their settings on val, and run the doctor again.",
        grid=Grid(
            ("head", "train", _n("val", found[0][0].val), "val, classes renamed", "gain"),
            tuple(
                (*_accuracy_row(each), percent(order.top1), points(order.gain))
                for each, order in found
            ),
        ),
    )


def gives_one(scored: Scored) -> bool:
    """Whether a head predicts one class for nearly all images of val, and clearly too often."""
    return gives_one_class(scored.predicted, scored.y_val, NEARLY_ALL)


def check_one_class(scored: list[Scored], classes: tuple[str, ...]) -> Iterator[Finding]:
    """Heads that predict one class for nearly every image."""
    found = [each for each in scored if each.looks and gives_one(each)]
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
        (f"Counted on {found[0].val.n} images of val.",),
        f"{AGAIN} Usual causes: a learning rate that is far too high, extreme class weights, or "
        "embeddings on another scale than in training.",
        grid=Grid(("head", "class", "predicted", "true", "val accuracy"), tuple(rows)),
    )


def check_chance(scored: list[Scored], level: float, is_blind: bool) -> Iterator[Finding]:
    """Heads at chance on val; severe if no head is better and the backbone was trained."""
    looking = [each for each in scored if each.looks]
    found = [each for each in looking if is_chance(each.val, level)]
    unsure = [each for each in looking if may_be_chance(each.val, level) and each not in found]
    if found:
        better = [each.name for each in looking if not may_be_chance(each.val, level)]
        yield _at_chance(found, better, level, is_blind)
    if unsure:
        yield Finding(
            "val-too-small",
            Severity.NOTE,
            f"{_names(unsure)}: val is too small to tell the accuracy from chance.",
            (
                f"Chance is {share(level)}, which the 95 % confidence interval includes "
                f"(n = {unsure[0].val.n}).",
            ),
            "Use more images by cross-validation: 'headbench heads --folds 5'.",
            grid=_accuracies(unsure),
        )


def _at_chance(found: list[Scored], better: list[str], level: float, is_blind: bool) -> Finding:
    remedy = (
        "All heads fail, so check labels and embeddings. Other findings may name the cause; "
        "'headbench verify --rerun 64' checks the embeddings."
    )
    if better:
        remedy = f"{AGAIN} Usual causes: other labels in training, or training that failed."
    return Finding(
        "val-at-chance",
        Severity.WARNING if better or is_blind else Severity.SEVERE,
        f"{_names(found)}: validation accuracy is at chance.",
        (
            f"Chance is {share(level)}: always predicting the most frequent class of train, or a "
            "random class.",
            *([f"Better on the same embeddings: {some(better)}."] if better else []),
            *([BLIND] if is_blind else []),
        ),
        remedy,
        grid=_accuracies(found),
    )


def _accuracies(scored: list[Scored]) -> Grid:
    return Grid(("head", "train", _n("val", scored[0].val)), tuple(map(_accuracy_row, scored)))


def _accuracy_row(scored: Scored) -> tuple[str, str, str]:
    return scored.name, percent(scored.train), percent(scored.val)


def _n(split: str, accuracy: Estimate | None) -> str:
    return f"{split} (n={accuracy.n})" if accuracy else split


def _best(scored: list[Scored]) -> Scored:
    return max(scored, key=lambda each: each.val.value)


def _names(scored: list[Scored]) -> str:
    return ", ".join(each.name for each in scored)


def check_overfit(scored: list[Scored]) -> Iterator[Finding]:
    """Heads whose train accuracy is far above validation accuracy; not knn, which knows train."""
    gaps = {
        each.name: difference(each.train, each.val)
        for each in scored
        if each.train is not None and each.kind != KNN and each.looks
    }
    found = [each for each in scored if each.name in gaps and gaps[each.name].low > OVERFIT_GAP]
    if not found:
        return
    evidence = [
        f"Train accuracy exceeds validation accuracy by more than {100 * OVERFIT_GAP:.0f} points "
        "(95 % CI)."
    ]
    if others := [each for each in scored if each.name in gaps and each not in found]:
        best = _best(others)
        evidence.append(
            f"The best of the other heads, {best.name}: validation accuracy {with_n(best.val)}, "
            f"{100 * gaps[best.name].value:.0f} points below train."
        )
    yield Finding(
        "overfit",
        Severity.WARNING,
        f"{_names(found)}: overfitting, train accuracy is far above validation accuracy.",
        tuple(evidence),
        "Add photographs ('headbench heads --curve' shows whether that would help), use a simpler "
        "head or one that is regularised on val (ridge, logreg), or more Dropout.",
        grid=Grid(
            ("head", _n("train", found[0].train), _n("val", found[0].val), "gap"),
            tuple((*_accuracy_row(each), points(gaps[each.name])) for each in found),
        ),
    )


def check_centroid(scored: list[Scored], centroid: NDArray[np.bool_]) -> Iterator[Finding]:
    """Heads that are less accurate on val than the nearest class mean, `centroid_right`."""
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
    baseline = wilson(int(centroid.sum()), len(centroid))
    yield Finding(
        "worse-than-centroid",
        Severity.WARNING,
        f"{_names([each for each, *_ in found])}: less accurate on val than the nearest class "
        "mean, the simplest head.",
        (
            f"The nearest class mean has a validation accuracy of {with_n(baseline)}. Paired by "
            "image; p by McNemar's test with Holm's correction.",
        ),
        f"{AGAIN} Usual causes: unsuitable settings, or training that stopped too early.",
        grid=Grid(
            ("head", "val", "difference from centroid", "p"),
            tuple(
                (each.name, percent(each.val), points(gap), p_value(p)) for each, gap, p in found
            ),
        ),
    )
