"""Pixels that do not reach the network with the scaling that it expects."""

from collections.abc import Iterator
from dataclasses import replace

from headbench.classify.doctor.finding import Finding, Severity, not_checked
from headbench.classify.doctor.model.anatomy import Family
from headbench.classify.doctor.model.input_pixels import (
    NO_KNOWN_SCALING,
    InputPixels,
    not_known,
    trained_on,
)
from headbench.classify.doctor.model.measured import Condition, Measured
from headbench.classify.doctor.model.moving_statistics import Fit
from headbench.classify.doctor.scalings import KNOWN, SCALINGS
from headbench.classify.wording import percent

REMEDY = (
    "Apply the network's own preprocess_input, once, to pixels from 0 to 255, and train again; "
    "'headbench features' does that."
)
SAME_EVERYWHERE = (
    "Use one preprocessing for training, validation and prediction: best inside the model."
)
SHOWN = "Measured at the network's first convolution, with pictures of one colour each."
NO_WAY_OUT = "No preprocessing before the model can correct the scaling inside it."


def check_scaling(
    pixels: InputPixels, measured: Measured | None, is_frozen: bool
) -> Iterator[Finding]:
    """Name pixels that reach the network with another scaling than it expects.

    Layers of a frozen network cannot adapt to other pixels.
    """
    if pixels.unknown:
        yield not_known(pixels)
    if pixels.is_assumed and measured:
        yield from _check_undeclared(replace(pixels, declared=None), measured, is_frozen)
    elif pixels.declared:
        yield from _check_declared(pixels, measured, pixels.declared, is_frozen)
    elif pixels.family and pixels.is_spoilt_inside:
        what = (
            f"{_own_work(pixels)[:-1]} before they reach {pixels.family.name}, which expects "
            f"{KNOWN[pixels.family.scaling].words}."
        )
        yield _wrong(what, is_frozen, (SHOWN, NO_WAY_OUT), measured)
    elif measured:
        yield from _check_undeclared(pixels, measured, is_frozen)
    else:
        yield not_checked(
            "the scaling of pixels",
            f"{_own_work(pixels)} How your script scales pixels before it is unknown.",
            "Name it, for example --script-settings scaling=/255, or name a folder of labelled "
            "images.",
        )


def _own_work(pixels: InputPixels) -> str:
    """Describe the scaling inside the model."""
    own = pixels.own_work
    if own is None:
        return NO_KNOWN_SCALING
    if own == SCALINGS["raw"]:
        return "The model does not preprocess pixels itself."
    return f"The model itself turns pixels into {own.words}."


def _check_declared(
    pixels: InputPixels, measured: Measured | None, declared: str, is_frozen: bool
) -> Iterator[Finding]:
    arrives, taken = pixels.arrives[declared], pixels.taken
    if arrives and taken and pixels.family and not pixels.is_taken(arrives):
        evidence = _accuracies(pixels, measured, declared)
        what = _arrive_as(arrives.words, pixels.family)
        yield _wrong(what, is_frozen, evidence, measured)
    elif measured and (fit := _misfitting(pixels, declared)):
        yield _not_as_trained(fit, declared, measured, is_frozen)
    elif measured:
        mode = measured.best().by_batch
        best, own = measured.best(mode), Condition(declared, mode)
        if measured.is_beaten(own):
            yield _trained_on_another(measured, best, own)


def _misfitting(pixels: InputPixels, declared: str) -> Fit | None:
    """The statistics that another scaling fits, and the declared one does not."""
    fit = pixels.fit
    # What a known network that stays frozen expects is known without them.
    if fit is None or (pixels.family and not fit.is_trained):
        return None
    return fit if fit.is_far(declared) else None


def _not_as_trained(fit: Fit, declared: str, measured: Measured, is_frozen: bool) -> Finding:
    return Finding(
        "trained-on-another-scaling" if fit.is_trained else "wrong-scaling",
        Severity.SEVERE if fit.is_trained or is_frozen else Severity.WARNING,
        f"The network was trained with pixels of another scaling ({' or '.join(fit.found)}) than "
        f"it gets now ({declared}).",
        (misfit(fit, *fit.found, declared),),
        SAME_EVERYWHERE if fit.is_trained else REMEDY,
        measured.grid(),
    )


def misfit(fit: Fit, *names: str) -> str:
    """How far the inputs of the first BatchNormalization are from its statistics, by scaling."""
    distances = ", ".join(f"{fit.distance[name]:.2g} with {name}" for name in names)
    return (
        f"Distance between the inputs of {fit.layer}, the first BatchNormalization, and its moving "
        f"mean and variance (Kullback-Leibler, nats, median over channels): {distances}. Labels "
        "are not used."
    )


def _check_undeclared(
    pixels: InputPixels, measured: Measured, is_frozen: bool
) -> Iterator[Finding]:
    possible = trained_on(pixels, measured)
    if pixels.fit and pixels.family and pixels.moved_to:
        said = _wrong_way(pixels, pixels.family, possible)
        yield _wrong(said, is_frozen, (misfit(pixels.fit, *possible),), measured)
        return
    if pixels.family and pixels.right and _is_proved_wrong(measured, pixels.right, possible):
        said = _wrong_way(pixels, pixels.family, possible)
        proof = _accuracies_of(measured, possible, pixels.right)
        yield _wrong(said, is_frozen, (proof,), measured)
        return
    if pixels.is_assumed:
        return
    yield Finding(
        "scaling-not-said",
        Severity.NOTE,
        "How your script scales pixels is unknown. The model is most accurate with "
        f"{_any_of(possible)}.",
        (misfit(pixels.fit, *pixels.fit.found),) if pixels.fit and pixels.fit.found else (),
        "Name it to have it checked, for example --script-settings scaling=caffe.",
        measured.grid(),
    )


def _is_proved_wrong(measured: Measured, right: str, possible: tuple[str, ...]) -> bool:
    """Whether accuracies show that the model was trained on other pixels than the network takes."""
    own = Condition(right, measured.best().by_batch)
    return right not in possible and own in measured.outputs and measured.is_beaten(own)


def _wrong_way(pixels: InputPixels, family: Family, possible: tuple[str, ...]) -> str:
    """What is wrong with the pixels, as far as it can be known."""
    arrives = pixels.arrives[possible[0]]
    if arrives and len(possible) == 1:
        return _arrive_as(arrives.words, family)
    return (
        f"{family.name} expects pixels as {KNOWN[family.scaling].words}, but the model is most "
        f"accurate with {_any_of(possible)}."
    )


def _any_of(names: tuple[str, ...]) -> str:
    """The names of scalings, one of which was used."""
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} or {names[-1]}, equally accurate on these images"


def _accuracies_of(measured: Measured, possible: tuple[str, ...], right: str) -> str:
    by_batch = measured.best().by_batch
    under = [
        f"{percent(measured.accuracy(Condition(name, by_batch)))} with {name}"
        for name in (*possible, right)
    ]
    return (
        f"Accuracy on {len(measured.sample.labels)} images {_mode(by_batch)}: {', '.join(under)} "
        "(the scaling that this network expects)."
    )


def _mode(by_batch: bool) -> str:
    return "with batch statistics" if by_batch else "in inference mode"


def _wrong(
    what: str,
    is_frozen: bool,
    evidence: tuple[str, ...],
    measured: Measured | None,
) -> Finding:
    trained = (
        "Its layers are frozen: they cannot adapt to it."
        if is_frozen
        else "Its layers are trained: they may have adapted to it, and lost some of what they knew."
    )
    return Finding(
        "wrong-scaling",
        Severity.SEVERE if is_frozen else Severity.WARNING,
        what,
        (*evidence, trained),
        REMEDY,
        measured.grid() if measured else None,
    )


def _arrive_as(words: str, family: Family) -> str:
    taken = KNOWN[family.scaling].words
    return f"Pixels are {words} when they reach {family.name}, which expects {taken}."


def _accuracies(pixels: InputPixels, measured: Measured | None, declared: str) -> tuple[str, ...]:
    """The accuracy lost, as far as it can be seen without training again."""
    if pixels.is_spoilt_inside:
        return SHOWN, NO_WAY_OUT
    if measured is None or not pixels.right:
        return (SHOWN,)
    right, given = (
        percent(measured.accuracy(Condition(name, by_batch=False)))
        for name in (pixels.right, declared)
    )
    return (
        f"{SHOWN} Accuracy on {len(measured.sample.labels)} images in inference mode: {given} with "
        f"{declared}, {right} with {pixels.right} (the scaling that this network expects).",
    )


def _trained_on_another(measured: Measured, best: Condition, own: Condition) -> Finding:
    return Finding(
        "trained-on-another-scaling",
        Severity.SEVERE,
        f"The model was trained with pixels of another scaling ({best.scaling}) than it gets now "
        f"({own.scaling}).",
        (
            f"Accuracy on {len(measured.sample.labels)} images {_mode(best.by_batch)}: "
            f"{percent(measured.accuracy(best))} with {best.scaling}, "
            f"{percent(measured.accuracy(own))} with {own.scaling}.",
        ),
        SAME_EVERYWHERE,
        measured.grid(),
    )
