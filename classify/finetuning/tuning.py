"""One fine-tuning: what it needs, training, measuring and keeping it."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_sample_weight

from cache.format import SPLITS
from cache.reader import FeatureFile
from classify.errors import RunError
from classify.finetuning.checkpoint import Checkpoint, State
from classify.finetuning.inputs import AugmentedInputs, CachedInputs, ImageInputs, Inputs
from classify.finetuning.loop import Loop
from classify.finetuning.model import Trainee, precision, require_all_classes
from classify.finetuning.network import SplitNetwork
from classify.finetuning.settings import FinetuneSettings
from classify.finetuning.team import Team
from classify.finetuning.trunk import content_of, shared_trunk
from classify.finetuning.workers import find_workers
from classify.heads.head import Head
from classify.heads.keras_layers import require_composable
from classify.heads.registry import load_trained_head
from classify.heads.temperature import fit_temperature
from classify.labelled_files import LabelledFiles, images_of, open_split
from classify.metrics import calibration_error, mean_log_loss
from classify.run import NETWORK_FILE, Record, Run, Trained, saving
from extract.backbones import reopen_backbone
from extract.devices import describe_devices, find_devices
from extract.embedder import EngineEmbedder
from extract.engines import engine_on
from extract.keras_backbone import KerasBackbone
from extract.stopwatch import Stopwatch


@dataclass(frozen=True)
class Finetuning:
    """All that one fine-tuning needs; `open` finds it.

    Attributes
    ----------
    source : Run
    features : FeatureFile
    head : Head
        Fitted: what training starts from.
    settings : FinetuneSettings
    network : SplitNetwork
    files : dict of str to LabelledFiles
        By split.
    team : Team
    say : callable
        Silent for all workers but the chief.
    """

    source: Run
    features: FeatureFile
    head: Head
    settings: FinetuneSettings
    network: SplitNetwork
    files: dict[str, LabelledFiles]
    team: Team
    say: Callable[[str], None]

    @classmethod
    def open(
        cls,
        run: Run,
        features: FeatureFile,
        start: Trained,
        settings: FinetuneSettings,
        data: str | Path | None,
        weights: str | None,
        device: str,
        say: Callable[[str], None],
    ) -> "Finetuning":
        """Open the head, the network and the images; see `classify.finetuning.stage.finetune`."""
        # First of all: TensorFlow has to know of other workers before it does anything.
        team = Team.gather(find_workers(), find_devices(device), say)
        head = load_trained_head(start)
        require_composable(head)
        require_all_classes(head, settings.start, len(features.classes))
        backbone = reopen_backbone(features.identity, weights or features.config.weights)
        if not isinstance(backbone, KerasBackbone):
            raise RunError(
                f"{run.features_path}: {features.identity.backbone} has no layers to fine-tune."
            )
        images = images_of(features, data)
        files = {split: open_split(features, split, images) for split in SPLITS}
        network = SplitNetwork.open(backbone, settings.unfreeze)
        return cls(run, features, head, settings, network, files, team, team.voice(say))

    def run(self, wanted: Record) -> None:
        """Train, measure and save, together with the other workers if there are any."""
        started = time.perf_counter()
        with self.team.together():
            self.team.require_same(self._identity(wanted))
            trainee = Trainee.create(self.network, self.head, self.settings, self.team)
            self.say(self._what(trainee))
            checkpoint = Checkpoint(self._training_folder, self._identity(wanted))
            state = self._trained(trainee, checkpoint)
            if self.team.workers.is_chief:
                self.say(_verdict(state, self.settings))
                record = replace(
                    wanted,
                    chosen={"epoch": state.best_epoch},
                    history=state.history,
                    fit_seconds=time.perf_counter() - started,
                )
                self._save(trainee, record)
                checkpoint.remove()
            # Nobody leaves before: those that are left would take them for lost.
            self.team.wait()

    def _what(self, trainee: Trainee) -> str:
        where, n_workers = describe_devices(self.team.devices), self.team.workers.n_workers
        if n_workers > 1:
            where += f" of each of {n_workers} workers"
        return (
            f"{self.network.backbone.name} from {self.network.trained[0]} on, "
            f"{_millions(trainee.steps.model)} million weights, on {where}, "
            f"{precision(self.settings, self.team.devices)}"
        )

    def _trained(self, trainee: Trainee, checkpoint: Checkpoint) -> State:
        train, val = self.inputs()
        return Loop(
            trainee.steps, train, val, self.weights, self.settings, checkpoint, self.say, self.team
        ).run()

    @property
    def _training_folder(self) -> Path:
        return self.source.folder / f".{self.settings.name}.training"

    def _identity(self, wanted: Record) -> dict[str, Any]:
        facts = {"settings": wanted.settings, "made_by": wanted.made_by}
        return {
            **facts,
            "features": self.features.identity.fingerprint,
            "table": wanted.features_digest,
            "devices": self.team.devices.names,
            "workers": self.team.workers.n_workers,
            "precision": precision(self.settings, self.team.devices),
        }

    def inputs(self) -> tuple[Inputs, Inputs]:
        """What to train on and what to measure on; the trunk's cache is filled where it is used."""
        train, val = self.files["train"], self.files["val"]
        if not (self.settings.cache_trunk and self.network.has_frozen_trunk):
            changed = AugmentedInputs(train) if self.settings.augment else ImageInputs(train)
            return changed, ImageInputs(val)
        # Changed images are new ones in every epoch: only val comes again and again.
        again = [val] if self.settings.augment else [train, val]
        files = [file for split in again for file in split.files]
        store = shared_trunk(self.source.folder, self.network, files, self.team, self.say)
        inputs: list[Inputs] = [
            CachedInputs(store, [content_of(file) for file in split.files], split.labels)
            for split in again
        ]
        return AugmentedInputs(train) if self.settings.augment else inputs[0], inputs[-1]

    @property
    def weights(self) -> NDArray[np.float64]:
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
        with saving(self.source.trained_folder(record.name), record, val, test) as folder:
            whole.save(folder / NETWORK_FILE)

    def _proba(self, whole: Any, split: str) -> NDArray[np.float32]:
        engine = engine_on(self.team.devices, lambda: whole)
        embedder = EngineEmbedder(engine, engine.batch_size, Stopwatch())
        batches: Iterable[Any] = embedder(self.files[split].batches(engine.batch_size))
        return np.concatenate([proba for _, proba in batches])


def _millions(model: Any) -> str:
    n_weights = sum(int(np.prod(each.shape)) for each in model.trainable_variables)
    return f"{n_weights / 1e6:.1f}"


def _verdict(state: State, settings: FinetuneSettings) -> str:
    if state.best_epoch:
        return f"Epoch {state.best_epoch} is kept, the best on val by log loss."
    if settings.is_fresh:
        return "Training did not help on val: epoch 0 is kept, whose head is as it was drawn."
    return f"Fine-tuning did not help on val: epoch 0 is kept, which is {settings.start}."
