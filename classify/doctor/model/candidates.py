"""What a model may have been trained on, where the script does not say it."""

from classify.doctor.model.intake import Intake
from classify.doctor.model.measured import Condition, Measured
from extract.scalings import SCALINGS


def trained_on(intake: Intake, measured: Measured | None) -> tuple[str, ...]:
    """The scaling before the model that it is trained on, or all that it may be.

    Normalising by the batch takes a scale off again, so that several may serve equally well.

    Parameters
    ----------
    intake : Intake
    measured : Measured or None

    Returns
    -------
    tuple of str
        Names of `SCALINGS`: the one that is said; else the one under which the model knows most,
        and then those that its answers cannot tell from it.
    """
    if intake.declared:
        return (intake.declared,)
    if measured is None:
        return ("raw",)
    best = measured.best()
    others = [Condition(name, best.by_batch) for name in SCALINGS if name != best.scaling]
    alike = [each.scaling for each in others if not measured.is_better(best, each)]
    return (best.scaling, *alike)


def judged_condition(intake: Intake, measured: Measured) -> Condition:
    """Inference, as the user does it; where that is not said, under what suits the model best."""
    possible = [Condition(name, by_batch=False) for name in trained_on(intake, measured)]
    return max(possible, key=lambda each: int(measured.is_right(each).sum()))
