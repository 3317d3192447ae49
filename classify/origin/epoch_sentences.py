"""What the origin's model did, in plain words."""

from typing import Any

from classify.origin.extraction import MOVING
from classify.origin.sentences import COLLAPSED, estimate
from classify.origin.settings import OriginSettings
from classify.wording import count, percent, seconds

# Of Keras' BatchNormalization; and how far its average has to come not to be spoken of.
MOMENTUM, ARRIVED = 0.99, 0.95


def explain_models(results: dict[str, Any]) -> list[str]:
    """What the origin's model did, and the same head where nothing is wrong.

    Parameters
    ----------
    results : dict
        With ``origin`` and ``mended``, as `classify.origin.results.model_results` gives them.
    """
    origin, mended = results["origin"], results["mended"]
    return [
        _end(origin, "The origin's model"),
        _base(origin),
        _end(
            mended, "The same head, trained alike on embeddings that were extracted once and right,"
        ),
        _cost(results),
        *_lag(origin),
    ]


def what_is_the_origins(results: dict[str, Any]) -> list[str]:
    """What of the model is as it was, and what is not."""
    settings, default = results["settings"], OriginSettings()
    other = [
        f"{settings[name]}{unit} ({getattr(default, name)} there)"
        for name, unit in (("size_px", " px"), ("batch_size", " images in a batch"))
        if settings[name] != getattr(default, name)
    ]
    return [
        "As the origin had it: pixels / 255; the frozen network inside the model, its "
        "BatchNormalization by the batch in training and by moving statistics in validation, "
        "which stay as they were; BatchNormalization, Dropout 0.2, Dense 512 relu, Dropout 0.5, "
        "softmax on top; Adam at 0.001; validation_split 0.2 by file order in each class; every "
        "image decoded and through the network in every epoch.",
        f"Not as the origin had it: {', '.join(['your images', *other])}; test left out; decoded "
        "and cropped by headbench, where Keras' loader resized without keeping the proportions; "
        f"the network, Adam and new weights as Keras {results['versions']['keras']} makes them.",
    ]


def _end(model: dict[str, Any], who: str) -> str:
    last, val = model["epochs"][-1], estimate(model["val"])
    chance, share = model["chance"]["value"], model["predicted_share"]["value"]
    is_chance = val.low <= chance
    lines = (
        f"{who} ends at {100 * last['acc']:.1f} % of {model['n_train']} train and {percent(val)} "
        f"of {val.n} val images, {'no better than' if is_chance else 'above'} chance "
        f"({100 * chance:.1f} %); {100 * share:.0f} % of its val predictions are the same class"
    )
    return f"{lines}, {model['most_predicted']!r}." if share >= COLLAPSED else f"{lines} at most."


def _base(origin: dict[str, Any]) -> str:
    if origin["base_is_unchanged"]:
        return (
            "The network's weights and moving statistics are the same as before, bit for bit: what "
            "differs between training and validation is what it normalises by."
        )
    return "The network's weights or moving statistics CHANGED, although it is frozen: not finite?"


def _cost(results: dict[str, Any]) -> str:
    origin, mended = results["origin"], results["mended"]
    once = results["network_seconds"][f"{results['network']['scaling']}, {MOVING}"]
    n_epochs = count(len(origin["epochs"]), "epoch")
    return (
        f"{n_epochs} with the network inside took {seconds(origin['seconds'])}. One extraction of "
        f"the same images spends {seconds(once)} in the network, once; {n_epochs} of the head "
        f"alone then took {seconds(mended['seconds'])}."
    )


def _lag(origin: dict[str, Any]) -> list[str]:
    come = 1 - MOMENTUM ** origin["n_steps"]
    if come >= ARRIVED:
        return []
    return [
        f"In {count(origin['n_steps'], 'step')} the moving statistics of the head's own "
        f"BatchNormalization have come {100 * come:.0f} % of the way to the data's. That may hold "
        "val accuracy down, in both models alike; more epochs mend that, and nothing else."
    ]
