"""Pixels that do not reach the network as it takes them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from classify.doctor.finding import Finding, Severity, not_checked
from classify.doctor.model.anatomy import Family, Leaf, find_family, first_convolution
from classify.doctor.model.measured import Condition, Measured
from classify.doctor.model.watch import arriving
from classify.wording import percent
from extract.scalings import SCALINGS, Scaling

REMEDY = (
    "Give the network its own preprocess_input, once, on pixels of 0 to 255, and train again; "
    "'make features' does."
)


@dataclass(frozen=True)
class Intake:
    """How pixels reach the network in a model.

    Attributes
    ----------
    family : Family or None
        Of the network; None if it is none of keras.applications that we know.
    arrives : mapping of str to Scaling or None
        By what is done before the model: what has been done in all when they reach the network.
    declared : str or None
        What is done before the model: by the user's word, or nothing if the model does it all.
    """

    family: Family | None
    arrives: Mapping[str, Scaling | None]
    declared: str | None

    @property
    def taken(self) -> Scaling | None:
        """What the network takes."""
        return SCALINGS[self.family.scaling] if self.family else None

    @property
    def right(self) -> str | None:
        """What done before the model gives it that; None if nothing does, or it is not known."""
        return next(
            (name for name, each in self.arrives.items() if each and each == self.taken), None
        )


def look_at_intake(model: Any, found: list[Leaf], size_px: int, declared: str | None) -> Intake:
    """Find out what reaches the network's first convolution."""
    family, first = find_family(found), first_convolution(found)
    arrives = {
        name: None if first is None else arriving(model, first, size_px, scaling)
        for name, scaling in SCALINGS.items()
    }
    intake = Intake(family, arrives, declared)
    if declared is None and intake.right == "raw":
        return Intake(family, arrives, "raw")
    return intake


def judged_condition(intake: Intake, measured: Measured) -> Condition:
    """Inference, as the user does it; where that is not said, under what suits the model best."""
    if intake.declared:
        return Condition(intake.declared, by_batch=False)
    return Condition(measured.best().scaling, by_batch=False)


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
    if intake.declared:
        yield from _check_declared(intake, measured, intake.declared, is_frozen)
    elif measured:
        yield from _check_undeclared(intake, measured, is_frozen)
    else:
        yield not_checked(
            "the scaling of pixels",
            "The model does not preprocess them itself, and what the script does is not said.",
            "--script-settings scaling=/255, say, or name a folder of labelled images.",
        )


def _check_declared(
    intake: Intake, measured: Measured | None, declared: str, is_frozen: bool
) -> Iterator[Finding]:
    arrives, taken = intake.arrives[declared], intake.taken
    if arrives and taken and intake.family and arrives != taken:
        evidence = _accuracies(intake, measured, declared)
        yield _wrong(intake.family, arrives.words, is_frozen, evidence, measured)
        return
    if measured:
        mode = measured.best().by_batch
        best, own = measured.best(mode), Condition(declared, mode)
        if measured.is_better(best, own):
            yield _trained_on_another(measured, best, own)


def _check_undeclared(intake: Intake, measured: Measured, is_frozen: bool) -> Iterator[Finding]:
    best = measured.best()
    right = intake.right and Condition(intake.right, best.by_batch)
    arrives = intake.arrives[best.scaling]
    if right and intake.family and arrives and measured.is_better(best, right):
        evidence = (
            "What the script does is not said. The model knows most on pixels that arrive as "
            f"{arrives.words}{_as_good(measured, best)}, so it was trained on those: "
            f"{_is_better(measured, best, right)}.",
        )
        yield _wrong(intake.family, arrives.words, is_frozen, evidence, measured)
    else:
        yield Finding(
            "scaling-not-said",
            Severity.NOTE,
            f"What the script does to pixels is not said; the model knows most under "
            f"{best.scaling}.",
            (),
            "Say it to have it checked: --script-settings scaling=caffe, say.",
            measured.grid(),
        )


def _wrong(
    family: Family,
    words: str,
    is_frozen: bool,
    evidence: tuple[str, ...],
    measured: Measured | None,
) -> Finding:
    taken = SCALINGS[family.scaling].words
    trained = (
        "Its layers are frozen: they cannot get used to it."
        if is_frozen
        else "Its layers are trained, so that they may have got used to it, at the price of what "
        "they knew before."
    )
    return Finding(
        "wrong-scaling",
        Severity.SEVERE if is_frozen else Severity.WARNING,
        f"Pixels are {words} when they reach {family.name}, which takes {taken}.",
        (*evidence, trained),
        REMEDY,
        measured.grid() if measured else None,
    )


def _accuracies(intake: Intake, measured: Measured | None, declared: str) -> tuple[str, ...]:
    """What that costs, as far as it can be seen without training again."""
    first = "Pictures of one colour each, followed to the network's first convolution, show it."
    if measured is None or not intake.right:
        return (first,)
    right, given = (
        percent(measured.accuracy(Condition(name, by_batch=False)))
        for name in (intake.right, declared)
    )
    return (
        f"{first} As it is now, the model has {given} right on pixels {declared} and {right} on "
        f"{intake.right} (in inference, n={len(measured.sample.labels)}).",
    )


def _as_good(measured: Measured, best: Condition) -> str:
    """Other scalings that the answers cannot tell from the best: normalising evens them out."""
    others = [Condition(name, best.by_batch) for name in SCALINGS if name != best.scaling]
    alike = [each.scaling for each in others if not measured.is_better(best, each)]
    return f", or under {', '.join(alike)}, which cannot be told from it" if alike else ""


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
