"""What the table says, in plain words; other numbers, other words."""

from typing import Any

from classify.intervals import Estimate
from classify.origin.cells import ORIGIN, RIGHT
from classify.origin.extraction import BATCH, MOVING, WRONG
from classify.wording import percent, points

# Share of predictions of one class from which on it is named.
COLLAPSED = 0.5


def verdict(results: dict[str, Any]) -> str:
    """The two numbers that matter."""
    right, origin = (estimate(_cell(results, role)["val"]) for role in (RIGHT, ORIGIN))
    return (
        f"Right on val: {percent(right)} if all is done right, {percent(origin)} the way the "
        f"origin did it, of {right.n} images."
    )


def explain_cells(results: dict[str, Any]) -> list[str]:
    """What the table of the four extractions shows.

    Parameters
    ----------
    results : dict
        As `classify.origin.results.table_results` gives it.

    Returns
    -------
    list of str
        Short paragraphs, to be read one after the other.
    """
    right, chance = estimate(_cell(results, RIGHT)["val"]), estimate(results["chance"])
    lines = [
        *_warnings(results),
        "With the network's own preprocessing and moving statistics throughout, "
        f"{results['settings']['head']} is right on {percent(right)} of {right.n} val images; one "
        f"class for every image would be right on {100 * chance.value:.1f} %.",
    ]
    if right.low <= chance.value:
        return [
            *lines,
            "That cannot be told from chance, so that nothing can be told from the other rows: "
            "first look for better weights, more images or wrong labels (make doctor).",
        ]
    return [*lines, _pixels(results), _statistics(results), _both(results), _remedy(results)]


def _warnings(results: dict[str, Any]) -> list[str]:
    if not results["network"]["has_random_weights"]:
        return []
    return ["RANDOM WEIGHTS: this network knows nothing; what follows says nothing about others."]


def _pixels(results: dict[str, Any]) -> str:
    found, network = results["differences"]["pixels"], results["network"]
    what = f"Pixels / 255 instead of {network['scaling']} ({network['scaling_words']})"
    return (
        f"{what}, all else right: {_effect(found)}"
        + {
            -1: f". They reach the network with 1/{network['contrast']:.0f} of the contrast that "
            "its moving statistics were collected at.",
            0: "; with these weights and images it is not the pixels alone.",
            1: ". These weights may have been trained on other pixels than those.",
        }[_sign(found)]
    )


def _statistics(results: dict[str, Any]) -> str:
    found = results["differences"]["statistics"]
    what = "BatchNormalization by the batch in training, by moving statistics in validation"
    return (
        f"{what}, all else right: {_effect(found)}"
        + {
            -1: ". The head is trained on one kind of embedding and asked about another.",
            0: "; with these weights and images it is not this alone.",
            1: ".",
        }[_sign(found)]
    )


def _both(results: dict[str, Any]) -> str:
    cell, both = _cell(results, ORIGIN), results["differences"]["both"]
    train, val = estimate(cell["train"]), estimate(cell["val"])
    lines = [
        f"Both, as the origin did: {percent(train)} of {train.n} train images and {percent(val)} "
        f"of {val.n} val images are right."
    ]
    if val.low <= results["chance"]["value"]:
        lines.append("On val that cannot be told from chance.")
    elif _sign(both) < 0:
        lines.append(f"On val that is above chance, but below what is right: {_effect(both)}.")
    else:
        lines.append("On val that cannot be told from what is right, or is better.")
    if cell["predicted_share"]["value"] >= COLLAPSED:
        share = 100 * cell["predicted_share"]["value"]
        lines.append(f"It takes {share:.0f} % of the val images for {cell['most_predicted']!r}.")
    return " ".join(lines + _not_overfitting(results))


def _not_overfitting(results: dict[str, Any]) -> list[str]:
    if _sign(results["differences"]["switch"]) >= 0:
        return []
    same = estimate(_find(results, WRONG.name, BATCH, BATCH)["val"])
    train = estimate(_cell(results, ORIGIN)["train_validated"])
    return [
        "It looks like overfitting and is not: normalised by the batch as in training, the same "
        f"head is right on {percent(same)} of the same val images, and by moving statistics on "
        f"{percent(train)} of the very images that it was trained on. Normalising by the batch "
        "takes a wrong scale off again, so that training goes well; moving statistics do not. "
        "More images, more Dropout or a smaller head mend none of this."
    ]


def _remedy(results: dict[str, Any]) -> str:
    found, own = results["differences"], results["network"]["scaling"]
    if _sign(found["both"]) >= 0:
        return (
            "On these images with these weights the two mistakes cannot be seen to cost anything."
        )
    mended = {
        "mend_pixels": ("the network's own pixels", _find(results, own, BATCH, MOVING)),
        "mend_statistics": ("inference mode", _find(results, WRONG.name, MOVING, MOVING)),
    }
    helps = [
        f"{what} alone {percent(estimate(cell['val']))}"
        for name, (what, cell) in mended.items()
        if _sign(found[name]) > 0
    ]
    right = percent(estimate(_cell(results, RIGHT)["val"]))
    return f"What mends it: {', '.join([*helps, f'both {right}'])}. 'make features' does both."


def _effect(found: dict[str, Any]) -> str:
    """A difference on val, and whether it can be seen at all."""
    effect = points(estimate(found["difference"]))
    return f"{effect} on val" if found["is_seen"] else f"no difference seen on val ({effect})"


def _sign(found: dict[str, Any]) -> int:
    """-1 or 1 for a difference that is seen, 0 for one that is not."""
    if not found["is_seen"]:
        return 0
    return 1 if found["difference"]["value"] > 0 else -1


def _find(
    results: dict[str, Any], preprocessing: str, trained: str, validated: str
) -> dict[str, Any]:
    wanted = (preprocessing, trained, validated)
    return next(
        each
        for each in results["cells"]
        if (each["preprocessing"], each["trained"], each["validated"]) == wanted
    )


def _cell(results: dict[str, Any], role: str) -> dict[str, Any]:
    return next(each for each in results["cells"] if each["role"] == role)


def estimate(raw: dict[str, Any]) -> Estimate:
    """An `Estimate` as results hold it."""
    return Estimate(**raw)
