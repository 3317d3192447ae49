"""The folder of one run: where things lie, and what was trained in it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.cache.disk import replaced_name, replacing_folder, whole_folder
from headbench.cache.reader import FeatureFile
from headbench.cache.untrusted import read_json
from headbench.cache.writer import installed_version
from headbench.classify.arrays import save_arrays
from headbench.classify.checked import (
    LARGEST,
    check_fields,
    check_proba,
    json_text,
    load_numbers,
)
from headbench.classify.errors import RunError, loading

RECORD_VERSION = 3
RECORD_FILE = "record.json"
PROBA_FILE = "proba.npz"
FINETUNED = "finetuned"
NETWORK_FILE = "network.keras"


@dataclass(frozen=True)
class Record:
    """What is known of a trained head or a fine-tuned network, kept as JSON beside it.

    Attributes
    ----------
    name : str
        A name of the registry, or of a fine-tuned network: see `is_finetuned`.
    chosen : mapping
        What was chosen on val.
    settings : mapping
        What was given.
    history : mapping of str to list of float
        Curves of the fit. Of a network (`heads.curves.Curves`), by epoch: those on train
        begin with epoch 1; those on val too, but of ``finetuned`` with epoch 0, the network as it
        was before training.
    fit_seconds : float
        The whole fit, the choice on val included.
    predict_seconds : float
        Seconds per image. Of a head: its `predict_proba`, on embeddings in memory. Of
        ``finetuned``: the whole network over the test split, files read and decoded included.
    classes : tuple of str
        The columns of its probabilities: those of the feature file.
    dim : int
        Length of an embedding.
    features_digest : str
        Of the feature file that it was trained on.
    calibration : mapping
        ``temperature``, and on val before and after it ``log_loss`` and ``ece``; empty where none
        was fitted.
    is_refit : bool
        Whether it was fitted again on train and val together, with what val chose: then its
        probabilities on val are those from before.
    command : str
        The command line that trained it; empty where it was called from Python.
    made_by : str
        Version of headbench.
    """

    name: str
    chosen: Mapping[str, float]
    settings: Mapping[str, Any]
    history: Mapping[str, list[float]]
    fit_seconds: float
    predict_seconds: float
    seed: int
    classes: tuple[str, ...]
    dim: int
    features_digest: str
    calibration: Mapping[str, Any] = field(default_factory=dict)
    is_refit: bool = False
    command: str = ""
    made_by: str = field(default_factory=lambda: installed_version("headbench"))


@dataclass(frozen=True)
class Trained:
    """A record, its folder, and its probabilities on val and test.

    Attributes
    ----------
    val, test : float32 (n_split, n_classes)
        Columns in the order of the feature file's classes. Kept when it was trained, so that a
        report needs neither the network nor TensorFlow.
    """

    folder: Path
    record: Record
    val: NDArray[np.float32]
    test: NDArray[np.float32]

    @property
    def n_bytes(self) -> int:
        """Bytes on disk of the saved model: all files but the record and the probabilities."""
        not_model = {self.folder / RECORD_FILE, self.folder / PROBA_FILE}
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return sum(path.stat().st_size for path in files if path not in not_model)


class Run:
    """A folder ``runs/NAME``.

    Parameters
    ----------
    path : Path
        The folder, or the feature file in it.
    """

    def __init__(self, path: Path) -> None:
        is_file = path.suffix == ".h5" or path.is_file()
        self.features_path = path if is_file else path / "features.h5"
        self.folder = self.features_path.parent

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.resolve().name

    @property
    def report_folder(self) -> Path:
        """Where the report goes."""
        return self.folder / "report"

    def trained_folder(self, name: str) -> Path:
        """Where a head, or a fine-tuned network, is kept."""
        return self.folder / name if is_finetuned(name) else self.folder / "heads" / name

    @property
    def names(self) -> list[str]:
        """Of all that was trained, whether or not it can be loaded."""
        return list(self._folders())

    def trained(self, features: FeatureFile) -> list[Trained]:
        """All that was trained on these features, by name.

        Raises
        ------
        RunError
            If nothing was, or something was trained on other features.
        """
        folders = self._folders()
        if not folders:
            raise RunError(f"{self.folder}: no trained heads. Run 'make heads' first.")
        return [self._load(name, folder, features) for name, folder in folders.items()]

    def find(self, name: str, features: FeatureFile) -> Trained:
        """One trained head, or a fine-tuned network, by its name."""
        folder, folders = self.trained_folder(name), self._folders()
        if name not in folders:
            known = ", ".join(folders) or "nothing"
            raise RunError(
                f"{folder}: {name!r} is not trained here (trained: {known}). Run "
                f"'make {'finetune' if is_finetuned(name) else 'heads HEADS=' + name}'."
            )
        return self._load(name, folders[name], features)

    def reusable(self, name: str, features: FeatureFile, wanted: Record) -> Trained | None:
        """What was trained under a name, if training it again would give the same."""
        folders = self._folders()
        if name not in folders:
            return None
        try:
            trained = self._load(name, folders[name], features)
        except RunError:
            # Of another version, of other features or damaged: trained again and replaced.
            return None
        kept = [
            json.dumps([each.settings, each.is_refit, each.made_by], sort_keys=True)
            for each in (trained.record, wanted)
        ]
        return trained if kept[0] == kept[1] else None

    def _folders(self) -> dict[str, Path]:
        """Of all that was trained, by its name; heads first."""
        records = [
            *self.folder.glob(f"heads/*/{RECORD_FILE}"),
            *self.folder.glob(f"{FINETUNED}*/{RECORD_FILE}"),
            *self.folder.glob(f".{FINETUNED}*/{RECORD_FILE}"),
        ]
        names = {replaced_name(path.parent) for path in records}
        # Other hidden folders are what an interrupted save left behind.
        shown = (name for name in names if not name.startswith("."))
        ordered = sorted(shown, key=lambda name: (is_finetuned(name), name))
        return {name: whole_folder(self.trained_folder(name)) for name in ordered}

    def _load(self, name: str, folder: Path, features: FeatureFile) -> Trained:
        record = _read_record(folder / RECORD_FILE)
        with loading(folder / RECORD_FILE):
            found = (record.name, record.dim, record.classes)
            expected = (name, features.dim, features.classes)
            if record.features_digest == features.digest() and found != expected:
                raise ValueError(f"expected name, dim and classes {expected}, found {found}")
        if record.features_digest != features.digest():
            target = "finetune" if is_finetuned(record.name) else "heads"
            raise RunError(
                f"{folder}: was trained on another version of {features.path}. Run "
                f"'make {target}' again, or delete it."
            )
        path = folder / PROBA_FILE
        with loading(path):
            trained = Trained(folder, record, **load_numbers(path))
            for split, proba in (("val", trained.val), ("test", trained.test)):
                shape = (len(features.rows(split)), len(features.classes))
                if proba.shape != shape or proba.dtype != np.float32:
                    raise ValueError(f"{split}: expected float32 {shape}, found {proba.shape}")
                check_proba(proba)
        return trained


def is_finetuned(name: str) -> bool:
    """Whether a name is that of a fine-tuned network: ``finetuned``, ``finetuned-block4``."""
    return name.split("-")[0] == FINETUNED


@contextmanager
def saving(
    folder: Path, record: Record, val: NDArray[np.float32], test: NDArray[np.float32]
) -> Iterator[Path]:
    """Save what was trained: give a new folder to put the model into, then swap it into place."""
    try:
        check_fields(Record, {**asdict(record), "classes": list(record.classes)})
        for proba in (val, test):
            check_proba(proba)
    except ValueError as error:
        raise RunError(
            f"{folder}: not saved: {error}. Training diverged: choose a lower learning rate."
        ) from error
    text = json_text({"version": RECORD_VERSION, **asdict(record)})
    with replacing_folder(folder) as temporary:
        (temporary / RECORD_FILE).write_text(text, "utf-8", newline="\n")
        save_arrays(temporary / PROBA_FILE, {"val": val, "test": test})
        yield temporary


def rank(trained: list[Trained], y_val: NDArray[np.int32]) -> list[Trained]:
    """The one with the best balanced accuracy on val first; of equals, the smaller log loss.

    Accuracy would prefer heads that never predict a rare class. Where fine-tuning gained nothing,
    it kept the head that it began with: then the head is first.
    """
    # SciPy takes half a second, which every --help of a command on runs would wait for.
    from headbench.classify.metrics import balanced_accuracy, log_losses

    def quality(candidate: Trained) -> tuple[float, float, bool]:
        # Equal shares that were summed in another order are equal.
        balanced = round(balanced_accuracy(y_val, candidate.val), 9)
        loss = float(log_losses(y_val, candidate.val).mean())
        # To four digits: a network and its embeddings do not round alike.
        return balanced, -round(loss, 4), not is_finetuned(candidate.record.name)

    return sorted(trained, key=quality, reverse=True)


def _read_record(path: Path) -> Record:
    with loading(path):
        raw = read_json(path)
        version = raw.pop("version")
        if version != RECORD_VERSION:
            raise RunError(
                f"{path}: has version {version}, expected {RECORD_VERSION}. Train again."
            )
        check_fields(Record, raw)
        record = Record(**{**raw, "classes": tuple(raw["classes"])})
        _check_numbers(record)
        return record


def _check_numbers(record: Record) -> None:
    for name in ("fit_seconds", "predict_seconds"):
        if getattr(record, name) < 0:
            raise ValueError(f"{name}: expected 0 or more, found {getattr(record, name)}")
    temperature = record.calibration.get("temperature", 1.0)
    if not isinstance(temperature, float | int) or not 0 < temperature < LARGEST:
        raise ValueError(f"temperature: expected a number above 0, found {temperature!r}")
    history = record.history
    for name in (each for each in history if not each.startswith(("train_", "val_"))):
        if name not in record.chosen or len(history[name]) != len(history["val_log_loss"]):
            raise ValueError(f"history: {name} does not fit what was chosen")
