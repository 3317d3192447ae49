"""Pixels that do not reach the network as it takes them."""

from collections.abc import Iterator

from classify.doctor.finding import Finding, Severity, not_checked
from classify.doctor.model.anatomy import Family
from classify.doctor.model.candidates import trained_on
from classify.doctor.model.intake import Intake, not_known
from classify.doctor.model.measured import Condition, Measured
from classify.wording import percent
from extract.scalings import SCALINGS

REMEDY = (
    "Give the network its own preprocess_input, once, on pixels of 0 to 255, and train again; "
    "'make features' does."
)
SHOWN = "Pictures of one colour each, followed to the network's first convolution, show it."
NO_WAY_OUT = "No preprocessing before the model can mend what it does itself."


def check_scaling(intake: Intake, measured: Measured | None, is_frozen: bool) -> Iterator[Finding]:
    """Name pixels that arrive as another network takes them.

    Parameters
    ----------
    intake : Intake
    measured : Measured or None
        None where there are no labelled images.
    is_frozen : bool
        Whether the network's layers are frozen, so that they cannot have got used to it.
    """
    if intake.unknown:
        yield not_known(intake)
    if intake.declared:
        yield from _check_declared(intake, measured, intake.declared, is_frozen)
    elif intake.family and intake.is_spoilt_inside:
        what = _spoilt_inside(intake, intake.family)
        yield _wrong(what, is_frozen, (SHOWN, NO_WAY_OUT), measured)
    elif measured:
        yield from _check_undeclared(intake, measured, is_frozen)
    else:
        yield not_checked(
            "the scaling of pixels",
            f"{_own_work(intake)} What the script does before it is not said.",
            "--script-settings scaling=/255, say, or name a folder of labelled images.",
        )


def _own_work(intake: Intake) -> str:
    """What the model itself does to pixels, as a sentence."""
    own = intake.own_work
    if own is None:
        return "What the model itself does to pixels is no scaling that we know."
    if own == SCALINGS["raw"]:
        return "The model does not preprocess pixels itself."
    return f"The model itself turns pixels into {own.words}."


def _spoilt_inside(intake: Intake, family: Family) -> str:
    return (
        f"{_own_work(intake)[:-1]} before they reach {family.name}, which takes "
        f"{SCALINGS[family.scaling].words}."
    )


def _check_declared(
    intake: Intake, measured: Measured | None, declared: str, is_frozen: bool
) -> Iterator[Finding]:
    arrives, taken = intake.arrives[declared], intake.taken
    if arrives and taken and intake.family and arrives != taken:
        evidence = _accuracies(intake, measured, declared)
        what = _arrive_as(arrives.words, intake.family)
        yield _wrong(what, is_frozen, evidence, measured)
        return
    if measured:
        mode = measured.best().by_batch
        best, own = measured.best(mode), Condition(declared, mode)
        if measured.is_better(best, own):
            yield _trained_on_another(measured, best, own)


def _check_undeclared(intake: Intake, measured: Measured, is_frozen: bool) -> Iterator[Finding]:
    possible = trained_on(intake, measured)
    if intake.family and intake.right and intake.right not in possible:
        said = _wrong_way(intake, intake.family, possible)
        proof = _accuracies_of(measured, possible, intake.right)
        yield _wrong(said, is_frozen, (proof,), measured)
        return
    yield Finding(
        "scaling-not-said",
        Severity.NOTE,
        "What the script does to pixels is not said; the model knows most under "
        f"{_any_of(possible)}.",
        (),
        "Say it to have it checked: --script-settings scaling=caffe, say.",
        measured.grid(),
    )


def _wrong_way(intake: Intake, family: Family, possible: tuple[str, ...]) -> str:
    """What is wrong with pixels that are none of the right ones: no more than can be known."""
    arrives = intake.arrives[possible[0]]
    if arrives and len(possible) == 1:
        return _arrive_as(arrives.words, family)
    return (
        f"Pixels are not {SCALINGS[family.scaling].words} when they reach {family.name}, which "
        f"takes that: the model knows most under {_any_of(possible)}."
    )


def _any_of(names: tuple[str, ...]) -> str:
    """Names of scalings, one of which was used."""
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} or {names[-1]}, which its answers cannot tell apart"


def _accuracies_of(measured: Measured, possible: tuple[str, ...], right: str) -> str:
    by_batch = measured.best().by_batch
    under = [
        f"{percent(measured.accuracy(Condition(name, by_batch)))} under {name}"
        for name in (*possible, right)
    ]
    mode = "with the statistics of the batch" if by_batch else "in inference"
    return (
        f"What the script does is not said. The model has right, {mode}, "
        f"n={len(measured.sample.labels)}: {', '.join(under)}, which would be right."
    )


def _wrong(
    what: str,
    is_frozen: bool,
    evidence: tuple[str, ...],
    measured: Measured | None,
) -> Finding:
    trained = (
        "Its layers are frozen: they cannot get used to it."
        if is_frozen
        else "Its layers are trained, so that they may have got used to it, at the price of what "
        "they knew before."
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
    taken = SCALINGS[family.scaling].words
    return f"Pixels are {words} when they reach {family.name}, which takes {taken}."


def _accuracies(intake: Intake, measured: Measured | None, declared: str) -> tuple[str, ...]:
    """What that costs, as far as it can be seen without training again."""
    if intake.is_spoilt_inside:
        return SHOWN, NO_WAY_OUT
    if measured is None or not intake.right:
        return (SHOWN,)
    right, given = (
        percent(measured.accuracy(Condition(name, by_batch=False)))
        for name in (intake.right, declared)
    )
    return (
        f"{SHOWN} As it is now, the model has {given} right on pixels {declared} and {right} on "
        f"{intake.right} (in inference, n={len(measured.sample.labels)}).",
    )


def _is_better(measured: Measured, best: Condition, other: Condition) -> str:
    found = measured.accuracy(best)
    mode = "with the statistics of the batch" if best.by_batch else "in inference"
    return (
        f"{percent(found)} right under {best.scaling}, {percent(measured.accuracy(other))} under "
        f"{other.scaling} ({mode}, n={found.n})"
    )


def _trained_on_another(measured: Measured, best: Condition, own: Condition) -> Finding:
    return Finding(
        "trained-on-another-scaling",
        Severity.SEVERE,
        f"The model was trained on pixels of another scaling ({best.scaling}) than it is given "
        f"now ({own.scaling}).",
        (f"{_is_better(measured, best, own)}.",),
        "Use one preprocessing for training, validation and prediction: best inside the model.",
        measured.grid(),
    )
