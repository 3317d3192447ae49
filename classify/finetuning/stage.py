"""Fine-tune a run: from its features and a trained head to a network that is kept or not."""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_sample_weight

from cache.format import SPLITS
from cache.reader import FeatureFile
from classify.compare import compare_right
from classify.errors import RunError
from classify.finetuning.checkpoint import Checkpoint, State
from classify.finetuning.inputs import AugmentedInputs, CachedInputs, ImageInputs, Inputs
from classify.finetuning.loop import Loop
from classify.finetuning.model import Trainee, precision, require_all_classes
from classify.finetuning.network import SplitNetwork
from classify.finetuning.settings import FinetuneSettings
from classify.finetuning.trunk import cached_trunk
from classify.heads.head import Head
from classify.heads.keras_layers import require_composable
from classify.heads.registry import load_head
from classify.heads.temperature import fit_temperature
from classify.labelled_files import LabelledFiles, open_split
from classify.metrics import accuracy, calibration_error, mean_log_loss
from classify.run import NETWORK_FILE, Record, Run, Trained, saving
from classify.wording import p_value, percent, points
from extract.backbones import reopen_backbone
from extract.devices import Devices, describe_devices, find_devices
from extract.embedder import EngineEmbedder
from extract.engines import tensorflow_engine
from extract.keras_backbone import KerasBackbone
from extract.settings import AUTO
from extract.stopwatch import Stopwatch

Say = Callable[[str], None]


def finetune(
    run: Run,
    settings: FinetuneSettings,
    data: Path | None,
    weights: str | None,
    say: Say,
    command: str = "",
    device: str = AUTO,
    is_again: bool = False,
) -> Record:
    """Train the top of the network and the head; keep the epoch that is best on val.

    Epoch 0 is the network with the trained head on it, so what is kept is never worse on val than
    what it started from. No BatchNormalization of the network learns or looks at the batch. After
    every epoch all that is needed to go on is saved: a run that was killed goes on from there.

    Parameters
    ----------
    run : Run
        With the trained head that `settings` starts from.
    settings : FinetuneSettings
    data : Path or None
        The folder of images; None for the one that the features were made from.
    weights : str or None
        The backbone's weights; None for those that the features were made with.
    say : callable
        Told what happens, a line at a time.
    command : str
        The command line, kept in the record.
    device : {"auto", "cpu", "gpu"}
    is_again : bool
        Train even what would be reused.

    Raises
    ------
    RunError, WeightsError, DataError, FeatureFileError, StorageError, DeviceError
    """
    with FeatureFile(run.features_path) as features:
        start = run.find(settings.start, features)
        wanted = _wanted(features, start, settings, command)
        kept = None if is_again else run.reusable(settings.name, features, wanted)
        if kept is not None:
            say(f"{settings.name}: there already, with these settings (AGAIN=1 trains it again)")
            _say_result(features, kept, start, say)
            return kept.record
        finetuning = _Finetuning.open(run, features, start, settings, data, weights, device, say)
        finetuning.run(wanted)
        _say_result(features, run.find(settings.name, features), start, say)
        return run.find(settings.name, features).record


def _wanted(
    features: FeatureFile, start: Trained, settings: FinetuneSettings, command: str
) -> Record:
    """The record of a network that is not trained yet."""
    record = start.record
    began = {"chosen": record.chosen, "settings": record.settings, "made_by": record.made_by}
    return Record(
        name=settings.name,
        chosen={},
        # As JSON gives it back, so that it can be compared with what was kept.
        settings=json.loads(json.dumps({**asdict(settings), "began": began})),
        history={},
        fit_seconds=0.0,
        predict_seconds=0.0,
        seed=settings.seed,
        classes=features.classes,
        dim=features.dim,
        features_digest=features.table.digest(),
        command=command,
    )


@dataclass(frozen=True)
class _Finetuning:
    """All that one fine-tuning needs."""

    run_: Run
    features: FeatureFile
    head: Head
    settings: FinetuneSettings
    network: SplitNetwork
    files: dict[str, LabelledFiles]
    devices: Devices
    say: Say

    @classmethod
    def open(
        cls,
        run: Run,
        features: FeatureFile,
        start: Trained,
        settings: FinetuneSettings,
        data: Path | None,
        weights: str | None,
        device: str,
        say: Say,
    ) -> "_Finetuning":
        head = load_head(start.folder)
        require_composable(head)
        require_all_classes(head, settings.start, len(features.classes))
        backbone = reopen_backbone(features.identity, weights or features.config.weights)
        if not isinstance(backbone, KerasBackbone):
            raise RunError(
                f"{run.features_path}: {features.identity.backbone} has no layers to fine-tune."
            )
        root = data or Path(features.config.data["folder"])
        files = {split: open_split(features, split, root) for split in SPLITS}
        network = SplitNetwork.open(backbone, settings.unfreeze)
        return cls(run, features, head, settings, network, files, find_devices(device), say)

    def run(self, wanted: Record) -> None:
        """Train, measure and save."""
        started = time.perf_counter()
        trainee = Trainee.create(self.network, self.head, self.settings, self.devices)
        self.say(
            f"{self.network.backbone.name} from {self.network.trained[0]} on, "
            f"{_millions(trainee.steps.model)} million weights, on "
            f"{describe_devices(self.devices)}, {precision(self.settings, self.devices)}"
        )
        checkpoint = Checkpoint(self._training_folder, self._identity(wanted))
        train, val = self._inputs()
        state = Loop(
            trainee.steps, train, val, self._weights, self.settings, checkpoint, self.say
        ).run()
        self.say(_verdict(state, self.settings.start))
        record = replace(
            wanted,
            chosen={"epoch": state.best_epoch},
            history=state.history,
            fit_seconds=time.perf_counter() - started,
        )
        self._save(trainee, record)
        checkpoint.remove()

    @property
    def _training_folder(self) -> Path:
        return self.run_.folder / f".{self.settings.name}.training"

    def _identity(self, wanted: Record) -> dict[str, Any]:
        facts = {"settings": wanted.settings, "made_by": wanted.made_by}
        return {
            **facts,
            "features": self.features.identity.fingerprint,
            "table": wanted.features_digest,
            "devices": self.devices.names,
        }

    def _inputs(self) -> tuple[Inputs, Inputs]:
        train, val = self.files["train"], self.files["val"]
        if not (self.settings.cache_trunk and self.network.has_frozen_trunk):
            changed = AugmentedInputs(train) if self.settings.augment else ImageInputs(train)
            return changed, ImageInputs(val)
        # Changed images are new ones in every epoch: only val comes again and again.
        again = [val] if self.settings.augment else [train, val]
        files = [file for split in again for file in split.files]
        store = cached_trunk(self.run_.folder, self.network, files, self.say)
        inputs: list[Inputs] = [
            CachedInputs(store, [_content(file) for file in split.files], split.labels)
            for split in again
        ]
        return AugmentedInputs(train) if self.settings.augment else inputs[0], inputs[-1]

    @property
    def _weights(self) -> NDArray[np.float64]:
        """What each image of train counts for: the same as it did for the head."""
        class_weight = getattr(self.head, "class_weight", None)
        if isinstance(class_weight, dict):
            # Keys of JSON are text; classes that are not named count as they are.
            n_classes = len(self.features.classes)
            class_weight = {label: class_weight.get(str(label), 1) for label in range(n_classes)}
        weights = compute_sample_weight(class_weight, self.files["train"].labels)
        return np.asarray(weights, dtype=np.float64)

    def _save(self, trainee: Trainee, record: Record) -> None:
        """Measure the network as it will be used, whole and in float32, and keep it."""
        y_val = self.files["val"].labels
        raw = self._proba(trainee.whole(1.0), "val")
        # Epoch 0 has the temperature of the head in it.
        temperature = (
            fit_temperature(raw, y_val, np.ones(len(y_val))) if record.chosen["epoch"] else 1.0
        )
        whole = trainee.whole(temperature)
        val = self._proba(whole, "val")
        started = time.perf_counter()
        test = self._proba(whole, "test")
        record = replace(
            record,
            predict_seconds=(time.perf_counter() - started) / len(test),
            calibration={
                "temperature": temperature,
                "log_loss": [
                    mean_log_loss(y_val, each, np.ones(len(y_val))) for each in (raw, val)
                ],
                "ece": [calibration_error(y_val, each) for each in (raw, val)],
            },
        )
        with saving(self.run_.trained_folder(record.name), record, val, test) as folder:
            whole.save(folder / NETWORK_FILE)

    def _proba(self, whole: Any, split: str) -> NDArray[np.float32]:
        engine = tensorflow_engine(lambda: whole)
        embedder = EngineEmbedder(engine, engine.batch_size, Stopwatch())
        batches: Iterable[Any] = embedder(self.files[split].batches(engine.batch_size))
        return np.concatenate([proba for _, proba in batches])


def _content(file: Any) -> bytes:
    return bytes(file.content_sha256)


def _millions(model: Any) -> str:
    n_weights = sum(int(np.prod(each.shape)) for each in model.trainable_variables)
    return f"{n_weights / 1e6:.1f}"


def _verdict(state: State, start: str) -> str:
    if state.best_epoch == 0:
        return f"Fine-tuning did not help on val: epoch 0 is kept, which is {start}."
    return f"Epoch {state.best_epoch} is kept, the best on val."


def _say_result(features: FeatureFile, tuned: Trained, start: Trained, say: Say) -> None:
    """Test, once, beside the head that it started from."""
    y = features.labels("test")
    names = (tuned.record.name, start.record.name)
    shares = [percent(accuracy(y, each.test)) for each in (tuned, start)]
    say(f"test top-1 (n={len(y)}): {names[0]} {shares[0]}, {names[1]} {shares[1]}")
    right = {each.record.name: each.test.argmax(axis=1) == y for each in (tuned, start)}
    [difference] = compare_right(right)
    seen = (
        "no difference seen"
        if not difference.is_seen
        else f"{names[0] if difference.difference.value > 0 else names[1]} is better"
    )
    say(f"{seen}: {points(difference.difference)}, {p_value(difference.p)}")
