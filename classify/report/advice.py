"""What to do next: sentences with commands, what helps the most first."""

import shlex
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

from headbench.classify.report.results import Results
from headbench.classify.report.words import by_head
from headbench.classify.run import is_finetuned
from headbench.classify.studies.learning_curve import CurvePoint, gain_of_doubling
from headbench.classify.wording import count, points
from headbench.extract.networks.applications import NETWORKS, OWN_MODEL, is_hub

IMAGENET = "imagenet"
FULL_SIZE_PX = 224
# A class with a third of the images of the largest is rare.
RARE = 3


def advice(results: Results) -> list[str]:
    """What to do next, what helps the most first."""
    parts = (_weights, _labels, _duplicates, _photographs, _finetuning, _confusions, _rare)
    return [sentence for part in parts for sentence in part(results)]


def _weights(results: Results) -> Iterator[str]:
    features = results.features
    if features.has_random_weights:
        yield "Use trained weights: 'headbench features DATA --weights imagenet --overwrite'."
    elif features.weights != IMAGENET and features.identity.backbone in NETWORKS:
        yield (
            f"If {Path(features.weights).name} does not hold ImageNet's weights, try them: "
            "'headbench features DATA --weights imagenet --name "
            f"{_beside(results, IMAGENET)}'."
        )
    size_px = features.identity.size_px
    has_own_size = features.identity.backbone == OWN_MODEL or is_hub(features.identity.backbone)
    if size_px < FULL_SIZE_PX and not has_own_size:
        yield (
            f"Try {FULL_SIZE_PX} px, the size of most networks: 'headbench features DATA --size "
            f"{FULL_SIZE_PX} --name {_beside(results, str(FULL_SIZE_PX))}'."
        )


def _beside(results: Results, suffix: str) -> str:
    """The name of another run, to compare with this one."""
    return shlex.quote(f"{results.name}-{suffix}")


def _labels(results: Results) -> Iterator[str]:
    suspects = results.suspects
    if suspects is None:
        yield (
            'Search for wrong labels: pip install "headbench[suspects]", then '
            "'headbench heads --folds 5' and 'headbench report'."
        )
    elif suspects.n_suspects:
        yield (
            f"Look at the images whose label may be wrong, the most suspicious first: "
            f"{suspects.n_suspects} of {suspects.n_looked_at} searched."
        )
    if suspects is not None and not results.folds:
        yield (
            "Search train and val for wrong labels: 'headbench heads --folds 5', then 'headbench "
            "report'."
        )
    n_rejected = len(results.features.rejected)
    if n_rejected:
        yield f"Repair or delete {count(n_rejected, 'file')} that could not be used."


def _duplicates(results: Results) -> Iterator[str]:
    n_pairs = results.duplicates.n_pairs
    if n_pairs:
        yield (
            f"Look at {count(n_pairs, 'pair')} of duplicates. Copies in two splits make the test "
            "accuracy look higher than it is; copies with two labels mislead training."
        )


def _photographs(results: Results) -> Iterator[str]:
    best = _best_on_curve(results)
    if not best:
        yield (
            "Find out whether more photographs would help: 'headbench heads --curve', then "
            "'headbench report'."
        )
        return
    name, gain = best[0].head, gain_of_doubling(best)
    changed = (
        f"from half of train to all of it, the validation accuracy of {name} changed by "
        f"{points(gain)}."
    )
    if gain.low > 0:
        yield f"Collect more photographs: {changed}"
    else:
        yield f"Expect no large gain from more photographs of the same kind: {changed}"


def _best_on_curve(results: Results) -> list[CurvePoint]:
    """The curve of the head that ends highest; empty without any."""
    curves = [group for _, group in by_head(results.learning_curve)]

    def last(curve: list[CurvePoint]) -> float:
        return max(curve, key=attrgetter("n_images")).top1.value

    return max(curves, key=last, default=[])


def _finetuning(results: Results) -> Iterator[str]:
    names = [head.name for head in results.heads]
    if not any(map(is_finetuned, names)):
        if "logreg" in names and results.features.identity.weights_hash != "none":
            yield "Fine-tune the last block, which starts from logreg: 'headbench finetune'."
        return
    for pair in results.comparisons:
        tuned, other = sorted((pair.first, pair.second), key=is_finetuned, reverse=True)
        if is_finetuned(tuned) and other == "logreg" and not pair.is_seen:
            yield (
                f"Use logreg instead of {tuned}, or train more of the network ('headbench finetune "
                f"--unfreeze block4'): on test, {tuned} differs by {points(pair.of(tuned))}, which "
                "is not significant."
            )


def _confusions(results: Results) -> Iterator[str]:
    worst = next(iter(results.confusions), None)
    # A pair that was confused once shows no pattern.
    if worst and worst.n > 1:
        yield (
            f"Look at {worst.true} and {worst.given}: {worst.n} of {worst.of} images of "
            f"{worst.true} are predicted as {worst.given}. Are the labels clear, and does the crop "
            "show the difference?"
        )


def _rare(results: Results) -> Iterator[str]:
    classes = results.features.classes
    rarest = min(classes, key=attrgetter("train"))
    if rarest.train * RARE <= max(each.train for each in classes):
        yield (
            f"Collect more images of rare classes, such as {rarest.name} ({rarest.train} in "
            "train), or give all classes the same total weight: 'headbench heads --class-weight "
            "balanced'."
        )
