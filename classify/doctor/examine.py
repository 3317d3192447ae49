"""Recognise the targets that the user named (images, run, model) and examine them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headbench.cache.blocks import open_hdf5
from headbench.cache.errors import FeatureFileError, UnreadableError
from headbench.cache.reader import FeatureFile
from headbench.classify.doctor.data.examine_data import examine_data
from headbench.classify.doctor.feature_findings import examine_features
from headbench.classify.doctor.finding import Diagnosis, Examination, Finding, not_checked
from headbench.classify.doctor.head_findings import examine_heads
from headbench.classify.doctor.model.examine_model import examine_model
from headbench.classify.doctor.model.own_backbone import examine_own_backbone
from headbench.classify.doctor.script import ScriptSettings
from headbench.classify.errors import RunError
from headbench.classify.run import Run
from headbench.extract.images.resizing import find_resizing
from headbench.extract.networks.applications import OWN_MODEL
from headbench.extract.networks.user_model import WHOLE_MODEL
from headbench.extract.settings import CROP
from headbench.extract.sources.folder import CLASS_FOLDERS, LAYOUTS
from headbench.extract.sources.open import other_kind
from headbench.extract.sources.urls import is_address, without_secrets

EXPECTED = "expected a folder of images, a run, or a Keras model (.keras, .h5)"


@dataclass(frozen=True)
class Targets:
    """The targets that the user named, at most one of each kind.

    Attributes
    ----------
    data
        A folder of labelled images; by default that of the run, if it exists.
    elsewhere
        Source of the run's images if it is not a folder on this machine; else empty.
    """

    data: Path | None = None
    run: Run | None = None
    model: Path | None = None
    elsewhere: str = ""

    @property
    def name(self) -> str:
        """Name of the folder in ``runs/`` for the report."""
        if self.run:
            return self.run.name
        if self.data:
            return self.data.resolve().name
        return self.model.stem if self.model else ""


def sort_targets(named: Iterable[str | Path]) -> Targets:
    """Sort paths by kind; URLs are refused.

    Raises
    ------
    RunError
        If one cannot be examined, or two are of the same kind.
    """
    found: dict[str, Any] = {}
    for name in named:
        _refuse_others(str(name))
        kind, value = _kind(Path(name))
        if kind in found:
            raise RunError(f"{name}: expected one {kind} at most, found another. Leave one out.")
        found[kind] = value
    targets = Targets(**found)
    if targets.run and not targets.data:
        return replace(targets, **_images_of(targets.run))
    return targets


def _refuse_others(name: str) -> None:
    if kind := other_kind(name):
        raise RunError(
            f"{without_secrets(name)}: {EXPECTED}, not {kind}. Name only the run that was made "
            "from it, or copy its images into a folder."
        )


def _kind(path: Path) -> tuple[str, Path | Run]:
    if path.is_dir():
        if (path / "features.h5").exists():
            return "run", Run(path)
        if (path / "saved_model.pb").exists():
            raise RunError(f"{path}: a SavedModel, which does not name its layers; {EXPECTED}.")
        return "data", path
    if not path.is_file():
        raise RunError(f"{path}: {EXPECTED}, found nothing.")
    if path.suffix == ".keras":
        return "model", path
    if path.suffix in (".h5", ".hdf5"):
        return ("run", Run(path)) if _is_feature_file(path) else ("model", path)
    raise RunError(f"{path}: {EXPECTED}, found another kind of file.")


def _is_feature_file(path: Path) -> bool:
    try:
        with open_hdf5(path, f"headbench {EXPECTED}. {WHOLE_MODEL}") as file:
            return "fingerprint" in file.attrs
    except UnreadableError:
        raise
    except FeatureFileError as error:
        raise RunError(str(error)) from error


def _images_of(run: Run) -> dict[str, Any]:
    with FeatureFile(run.features_path) as features:
        data = features.config.data
    # A file that does not say how its images lie has them in a folder.
    name, layout = str(data["folder"]), str(data.get("layout", CLASS_FOLDERS))
    if layout not in LAYOUTS or is_address(name):
        return {"elsewhere": f"{without_secrets(name)} ({layout})"}
    # It may have become something else since.
    return {"data": Path(name)} if Path(name).is_dir() and not other_kind(name) else {}


def examine(targets: Targets, script: ScriptSettings) -> Diagnosis:
    """Examine the images, features, heads and model that were named.

    Raises
    ------
    HeadbenchError
        If a file cannot be opened.
    """
    return Diagnosis.of(_examinations(targets, script))


def _examinations(targets: Targets, script: ScriptSettings) -> Iterator[Examination]:
    if targets.data:
        yield examine_data(targets.data, script, _is_cropped(targets.run))
    if targets.run:
        with FeatureFile(targets.run.features_path) as features:
            yield examine_features(features, targets.data)
            yield examine_heads(targets.run, features)
            if features.identity.backbone == OWN_MODEL:
                yield examine_own_backbone(features, targets.data)
    if targets.model:
        yield examine_model(targets.model, targets.data, script)
    if targets.run and not targets.data:
        yield Examination("no images", [_no_images(targets.run, targets.elsewhere)])


def _is_cropped(run: Run | None) -> bool:
    if run is None:
        return True
    with FeatureFile(run.features_path) as features:
        resizing = find_resizing(features.identity)
    return resizing is None or resizing.rule == CROP


def _no_images(run: Run, elsewhere: str) -> Finding:
    if elsewhere:
        why = (
            f"{run.features_path} was made from {elsewhere}; the doctor examines only folders on "
            "this machine."
        )
        way = (
            "Copy them into one folder per class and name the parent folder: 'headbench doctor "
            "FOLDER'."
        )
        return not_checked("the images", why, way)
    why = f"The folder that {run.features_path} was made from does not exist."
    return not_checked("the images", why, "Name it too: 'headbench doctor RUN FOLDER'.")
