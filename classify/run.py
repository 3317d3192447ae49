"""The folder of one run, and the heads and networks that were trained in it."""

import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.cache.disk import replace_texts, replaced_name, replacing_folder, whole_folder
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
    """Facts about a trained head or a fine-tuned network, kept as JSON beside it.

    Attributes
    ----------
    name : str
        Name of a head, or of a fine-tuned network: see `is_finetuned`.
    chosen : mapping
        Settings that were chosen on val.
    settings : mapping
        Settings that were given.
    history : mapping of str to list of float
        Curves of the fit. Those of a network (`heads.curves.Curves`) have a value for each epoch,
        from epoch 1 on. The curves on val of ``finetuned`` begin with epoch 0, the network before
        training.
    fit_seconds : float
        Seconds of the whole fit, including the choice on val.
    predict_seconds : float
        Seconds per image. Of a head: `predict_proba` on embeddings in memory. Of ``finetuned``:
        the whole network on the test split, including reading and decoding the files.
    classes : tuple of str
        Columns of its probabilities: the classes of the feature file.
    dim : int
        Length of an embedding.
    features_digest : str
        Of the feature file that it was trained on.
    calibration : mapping
        ``temperature``, and ``log_loss`` and ``ece`` on val before and after it; empty if no
        temperature was fitted.
    is_refit : bool
        Whether it was fitted again on train and val together, with the settings that val chose. Its
        probabilities on val are then those of the first fit.
    command : str
        The command line that trained it; empty if it was trained from Python.
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
    """A trained head or network: its record, its folder, its probabilities on val and test.

    Attributes
    ----------
    val, test : float32 (n_split, n_classes)
        Columns in the order of the feature file's classes. They are kept, so that a report needs
        neither the network nor TensorFlow.
    """

    folder: Path
    record: Record
    val: NDArray[np.float32]
    test: NDArray[np.float32]

    @property
    def model_files(self) -> list[Path]:
        """Files of the saved model, sorted: all except the record and the probabilities."""
        not_model = {self.folder / RECORD_FILE, self.folder / PROBA_FILE}
        return sorted({path for path in self.folder.rglob("*") if path.is_file()} - not_model)

    @property
    def n_bytes(self) -> int:
        """Bytes on disk of the saved model."""
        return sum(path.stat().st_size for path in self.model_files)


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
        """Folder of the report."""
        return self.folder / "report"

    def trained_folder(self, name: str) -> Path:
        """Folder of a head or of a fine-tuned network."""
        return self.folder / name if is_finetuned(name) else self.folder / "heads" / name

    @property
    def names(self) -> list[str]:
        """Names of all trained heads and networks, including those that cannot be loaded."""
        return list(self._folders())

    def trained(self, features: FeatureFile) -> list[Trained]:
        """All heads and networks that were trained on these features, sorted by name.

        Raises
        ------
        RunError
            If there is none, or one was trained on other features.
        """
        features.require_labels()
        folders = self._folders()
        if not folders:
            raise RunError(
                f"{self.folder}: expected trained heads, found none. Run "
                f"'{self.command_line('heads')}' first."
            )
        return [self._load(name, folder, features) for name, folder in folders.items()]

    def find(self, name: str, features: FeatureFile) -> Trained:
        """The trained head or fine-tuned network of that name; `RunError` if there is none."""
        features.require_labels()
        folder, folders = self.trained_folder(name), self._folders()
        if name not in folders:
            known = ", ".join(folders) or "nothing"
            raise RunError(
                f"{folder}: {name!r} is not trained here (trained: {known}). Run "
                f"'{self._training(name)}'."
            )
        return self._load(name, folders[name], features)

    def reusable(self, name: str, features: FeatureFile, wanted: Record) -> Trained | None:
        """The head or network of that name, if training it again would give the same."""
        folders = self._folders()
        if name not in folders:
            return None
        try:
            trained = self._load(name, folders[name], features)
        except RunError:
            # From another version, on other features, or damaged: it is trained again.
            return None
        kept = [
            json.dumps([each.settings, each.is_refit, each.made_by], sort_keys=True)
            for each in (trained.record, wanted)
        ]
        return trained if kept[0] == kept[1] else None

    def _folders(self) -> dict[str, Path]:
        """Folders of all trained heads and networks by name, heads first."""
        records = [
            *self.folder.glob(f"heads/*/{RECORD_FILE}"),
            *self.folder.glob(f"{FINETUNED}*/{RECORD_FILE}"),
            *self.folder.glob(f".{FINETUNED}*/{RECORD_FILE}"),
        ]
        names = {replaced_name(path.parent) for path in records}
        # Other hidden folders were left behind by an interrupted save.
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
            raise RunError(
                f"{folder}: was trained on another version of {features.path}. Run "
                f"'{self._training(name)}' again, or delete the folder."
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

    def command_line(self, verb: str, *options: str) -> str:
        """A command for this run, as users type it."""
        return shlex.join(["headbench", verb, str(self.folder), *options])

    def _training(self, name: str) -> str:
        """The command that trains a head or a network."""
        if is_finetuned(name):
            return self.command_line("finetune")
        return self.command_line("heads", "--heads", name)


def is_finetuned(name: str) -> bool:
    """Whether a name is that of a fine-tuned network, such as ``finetuned-block4``."""
    return name.split("-")[0] == FINETUNED


@contextmanager
def saving(
    folder: Path, record: Record, val: NDArray[np.float32], test: NDArray[np.float32]
) -> Iterator[Path]:
    """Save a head or a network: yields a new folder for the model, then swaps it into place."""
    try:
        check_fields(Record, {**asdict(record), "classes": list(record.classes)})
        for proba in (val, test):
            check_proba(proba)
    except ValueError as error:
        raise RunError(
            f"{folder}: not saved: {error}. Training diverged: choose a lower learning rate."
        ) from error
    with replacing_folder(folder) as temporary:
        (temporary / RECORD_FILE).write_text(_text_of(record), "utf-8", newline="\n")
        save_arrays(temporary / PROBA_FILE, {"val": val, "test": test})
        yield temporary


def save_record(folder: Path, record: Record) -> None:
    """Replace the record of what was saved into a folder."""
    replace_texts(folder, {RECORD_FILE: _text_of(record)})


def _text_of(record: Record) -> str:
    return json_text({"version": RECORD_VERSION, **asdict(record)})


def rank(trained: list[Trained], y_val: NDArray[np.int32]) -> list[Trained]:
    """Sort by balanced accuracy on val, the best first; ties by log loss, the smallest first.

    Plain accuracy would prefer heads that never predict a rare class. If fine-tuning gained
    nothing, its network equals the head that it started from, and the head comes first.
    """
    # SciPy takes half a second, which every --help of a command on runs would wait for.
    from headbench.classify.metrics import balanced_accuracy, log_losses

    def quality(candidate: Trained) -> tuple[float, float, bool]:
        # Rounded, because the order of a sum changes its last digits.
        balanced = round(balanced_accuracy(y_val, candidate.val), 9)
        loss = float(log_losses(y_val, candidate.val).mean())
        # To four digits: a network and a head on its embeddings round differently.
        return balanced, -round(loss, 4), not is_finetuned(candidate.record.name)

    return sorted(trained, key=quality, reverse=True)


def _read_record(path: Path) -> Record:
    with loading(path):
        raw = read_json(path)
        version = raw.pop("version")
        if version != RECORD_VERSION:
            raise RunError(
                f"{path}: expected record version {RECORD_VERSION}, found {version}. Train again."
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
            raise ValueError(f"history: expected a value of {name} for each val_log_loss")
