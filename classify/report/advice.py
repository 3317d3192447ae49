"""What to do next, from the results alone."""

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

from classify.intervals import Estimate
from classify.run import is_finetuned
from classify.studies.learning_curve import gain_of_doubling
from classify.wording import count, points

IMAGENET = "imagenet"
FULL_SIZE_PX = 224
# A class with a third of the images of the largest is rare.
RARE = 3


def advice(results: dict[str, Any]) -> list[str]:
    """Sentences, what helps the most first.

    Parameters
    ----------
    results : dict
        As `collect_results` gives them.
    """
    parts = (_weights, _labels, _duplicates, _photographs, _finetuning, _confusions, _rest)
    return [sentence for part in parts for sentence in part(results)]


def _weights(results: dict[str, Any]) -> Iterator[str]:
    features = results["features"]
    if features["has_random_weights"]:
        yield "Extract with trained weights (make features WEIGHTS=imagenet): these are random."
    elif features["weights"] != IMAGENET and features["identity"]["weights_hash"] != "none":
        yield (
            "Try ImageNet's weights (make features WEIGHTS=imagenet), unless these were chosen on "
            "purpose."
        )
    if features["identity"]["size_px"] < FULL_SIZE_PX:
        yield (
            f"Extract at {FULL_SIZE_PX} px (make features SIZE={FULL_SIZE_PX}) and compare: most "
            f"networks were trained at that, these embeddings are of "
            f"{features['identity']['size_px']} px."
        )


def _labels(results: dict[str, Any]) -> Iterator[str]:
    suspects = results["suspects"]
    if suspects is None:
        yield (
            "Look for wrong labels: make install EXTRAS=suspects, make heads FOLDS=5, make report."
        )
    elif suspects["n_suspects"]:
        yield (
            "Look at the images that look mislabelled, the most suspicious first "
            f"({suspects['n_suspects']} of {suspects['n_looked_at']}), and mend what is wrong."
        )
    if suspects is not None and not results["folds"]:
        yield "Look for wrong labels in train and val too: make heads FOLDS=5, make report."
    n_rejected = len(results["features"]["rejected"])
    if n_rejected:
        yield f"Mend or delete what could not be used: {count(n_rejected, 'file')}."


def _duplicates(results: dict[str, Any]) -> Iterator[str]:
    n_pairs = results["duplicates"]["n_pairs"]
    if n_pairs:
        yield (
            f"Look at the copies, {count(n_pairs, 'pair')}: those in two splits make test look "
            "better than it is, those under two labels teach the wrong thing."
        )


def _photographs(results: dict[str, Any]) -> Iterator[str]:
    curve = [point for point in results["learning_curve"] if point["head"] == _on_curve(results)]
    if not curve:
        yield "Ask whether more photographs would help: make heads CURVE=1, make report."
        return
    gain = gain_of_doubling(curve)
    if gain.low > 0:
        yield (
            f"Collect more photographs: from half of them to all, {curve[0]['head']} gained "
            f"{points(gain)} on val."
        )
    else:
        yield (
            f"More photographs of the same kind are not seen to help: from half to all, "
            f"{curve[0]['head']} gained {points(gain)} on val."
        )


def _on_curve(results: dict[str, Any]) -> str | None:
    """Of the heads with a learning curve, the one that ends highest."""
    groups = groupby(
        sorted(results["learning_curve"], key=itemgetter("head")), key=itemgetter("head")
    )
    last = {name: max(group, key=itemgetter("n_images"))["top1"]["value"] for name, group in groups}
    return max(last, key=lambda name: float(last[name])) if last else None


def _finetuning(results: dict[str, Any]) -> Iterator[str]:
    names = [head["name"] for head in results["heads"]]
    if not any(map(is_finetuned, names)):
        if "logreg" in names and results["features"]["identity"]["weights_hash"] != "none":
            yield (
                "Fine-tune the last block (make finetune): it starts from logreg, and takes longer."
            )
        return
    for pair in results["comparisons"]:
        tuned, other = sorted((pair["first"], pair["second"]), key=is_finetuned, reverse=True)
        if is_finetuned(tuned) and other == "logreg" and not pair["is_seen"]:
            yield (
                f"Fine-tuning ({tuned}) gained nothing over logreg that can be told from chance "
                f"({points(_from_finetuned(pair))}): use the head, or train more of the network "
                "(make finetune UNFREEZE=block4)."
            )


def _from_finetuned(pair: dict[str, Any]) -> Estimate:
    gap = Estimate(**pair["difference"])
    return gap if is_finetuned(pair["first"]) else Estimate(-gap[0], -gap[2], -gap[1], gap.n)


def _confusions(results: dict[str, Any]) -> Iterator[str]:
    if results["confusions"]:
        worst = results["confusions"][0]
        yield (
            f"Look at {worst['true']} and {worst['given']}: {worst['n']} of {worst['of']} of the "
            "first are taken for the second. Are the labels clear, and does the crop show what "
            "tells them apart?"
        )


def _rest(results: dict[str, Any]) -> Iterator[str]:
    counts = {each["name"]: each["train"] for each in results["features"]["classes"]}
    rarest = min(counts, key=lambda name: counts[name])
    if counts[rarest] * RARE <= max(counts.values()):
        yield (
            f"Collect more of the rare classes, such as {rarest} ({counts[rarest]} in train), or "
            "let them count as much as the others (make heads CLASS_WEIGHT=balanced)."
        )
