"""Look at all that was named, one part after the other."""

from collections.abc import Callable, Iterator

from cache.reader import FeatureFile
from classify.doctor.data.examine import examine_data
from classify.doctor.features.examine import examine_features
from classify.doctor.finding import Diagnosis, Examination, Finding, Severity, not_checked
from classify.doctor.heads.examine import examine_heads
from classify.doctor.model.examine_model import examine_model
from classify.doctor.script import ScriptSettings
from classify.doctor.targets import Targets
from classify.run import Run


def examine(
    targets: Targets, script: ScriptSettings, weights: str | None, say: Callable[[str], None]
) -> Diagnosis:
    """Examine data, features, heads and model, as far as they were named.

    Parameters
    ----------
    targets : Targets
    script : ScriptSettings
    weights : str or None
        Where the weights of the run's backbone are now.
    say : callable
        Told of each part, before it is looked at.

    Returns
    -------
    Diagnosis

    Raises
    ------
    HeadbenchError
        If something cannot be opened at all.
    """
    return Diagnosis.of(_examinations(targets, script, weights, say))


def _examinations(
    targets: Targets, script: ScriptSettings, weights: str | None, say: Callable[[str], None]
) -> Iterator[Examination]:
    if targets.data:
        yield examine_data(targets.data, script, say)
    if targets.run:
        with FeatureFile(targets.run.features_path) as features:
            embeddings = examine_features(features, targets.data, weights, say)
            yield embeddings
            are_wrong = any(each.severity is Severity.SEVERE for each in embeddings.findings)
            yield examine_heads(targets.run, features, say, are_wrong)
    if targets.model:
        yield examine_model(targets.model, targets.data, script, say)
    if targets.run and not targets.data:
        yield Examination("no images", [_no_images(targets.run, targets.elsewhere)])


def _no_images(run: Run, elsewhere: str) -> Finding:
    if elsewhere:
        why = (
            f"{run.features_path} was made from {elsewhere}; the doctor looks at images in folders "
            "of this machine alone."
        )
        way = "Copy them into a folder for each class, and name what holds those: doctor FOLDER."
        return not_checked("the images", why, way)
    why = f"what {run.features_path} was made from is no folder that is there."
    return not_checked("the images", why, "Name it too: doctor runs/NAME FOLDER.")
