"""Examine the images, the run and the model that the user named."""

from collections.abc import Iterator

from headbench.cache.reader import FeatureFile
from headbench.classify.doctor.data.examine_data import examine_data
from headbench.classify.doctor.feature_findings import examine_features
from headbench.classify.doctor.finding import Diagnosis, Examination, Finding, not_checked
from headbench.classify.doctor.head_findings import examine_heads
from headbench.classify.doctor.model.examine_model import examine_model
from headbench.classify.doctor.script import ScriptSettings
from headbench.classify.doctor.targets import Targets
from headbench.classify.run import Run


def examine(targets: Targets, script: ScriptSettings) -> Diagnosis:
    """Examine images, features, heads and model, those that were named.

    Raises
    ------
    HeadbenchError
        If a file cannot be opened.
    """
    return Diagnosis.of(_examinations(targets, script))


def _examinations(targets: Targets, script: ScriptSettings) -> Iterator[Examination]:
    if targets.data:
        yield examine_data(targets.data, script)
    if targets.run:
        with FeatureFile(targets.run.features_path) as features:
            yield examine_features(features, targets.data)
            yield examine_heads(targets.run, features)
    if targets.model:
        yield examine_model(targets.model, targets.data, script)
    if targets.run and not targets.data:
        yield Examination("no images", [_no_images(targets.run, targets.elsewhere)])


def _no_images(run: Run, elsewhere: str) -> Finding:
    if elsewhere:
        why = (
            f"{run.features_path} was made from {elsewhere}; the doctor looks at folders of this "
            "machine only."
        )
        way = "Copy them into one folder per class and name the parent folder: doctor FOLDER."
        return not_checked("the images", why, way)
    why = f"The folder that {run.features_path} was made from does not exist."
    return not_checked("the images", why, "Name it too: doctor runs/NAME FOLDER.")
