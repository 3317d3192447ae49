"""Fine-tune a run: train the top of its network and a trained head, measure and save them."""

import json
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_sample_weight

from headbench.cache.format import SPLITS
from headbench.cache.progress import Progress
from headbench.cache.reader import FeatureFile
from headbench.classify.errors import RunError
from headbench.classify.finetuning.finetune_settings import FinetuneSettings
from headbench.classify.finetuning.frozen_part import Wanted, cached_activations
from headbench.classify.finetuning.split_network import SplitNetwork
from headbench.classify.finetuning.trainable_network import (
    TrainableNetwork,
    precision,
    require_all_classes,
    trains_on_activations,
)
from headbench.classify.finetuning.training_inputs import (
    AugmentedInputs,
    CachedInputs,
    ImageInputs,
    Inputs,
)
from headbench.classify.finetuning.training_loop import Checkpoint, Loop, State
from headbench.classify.heads.grid import AT_LIMIT
from headbench.classify.heads.head import Head
from headbench.classify.heads.keras_head import require_composable
from headbench.classify.heads.registry import load_trained_head
from headbench.classify.heads.temperature import fit_temperature, sharpen
from headbench.classify.intervals import compare_right
from headbench.classify.labelled_files import LabelledFiles, images_of, open_split
from headbench.classify.metrics import accuracy, calibration_error, mean_log_loss
from headbench.classify.run import NETWORK_FILE, Record, Run, Trained, saving
from headbench.classify.wording import p_value, percent, points
from headbench.extract.networks.backbone import reopen_backbone
from headbench.extract.networks.devices import Devices, describe_devices, find_devices
from headbench.extract.networks.engines import EngineEmbedder, engine_on
from headbench.extract.networks.keras_network import KerasNetwork
from headbench.extract.settings import AUTO
from headbench.extract.stopwatch import Stopwatch

LOG = logging.getLogger(__name__)


def finetune(
    run: Run,
    settings: FinetuneSettings,
    data: str | Path | None,
    weights: str | None,
    command: str = "",
    device: str = AUTO,
    is_again: bool = False,
) -> None:
    """Train the top of the network and the head; keep the epoch with the best log loss on val.

    Epoch 0 is the unchanged network with the trained head, so the kept epoch never has a larger log
    loss on val than the head. With a new head (`FinetuneSettings.is_fresh`) it may; the log then
    gives both. No BatchNormalization of the network learns or uses batch statistics. After every
    epoch a checkpoint is saved, from which a killed run resumes.

    Parameters
    ----------
    data : path-like, URL or None
        The images; None for those that the features were made from.
    weights : str or None
        The backbone's weights; None for those that the features were made with.
    command : str
        The command line, kept in the record.
    is_again : bool
        Train even if a network with these settings exists.

    Raises
    ------
    RunError, WeightsError, DataError, FeatureFileError, StorageError, DeviceError
    """
    settings.check()
    with FeatureFile(run.features_path) as features:
        start = run.find(settings.start, features)
        wanted = _wanted(features, start, settings, command)
        kept = None if is_again else run.reusable(settings.name, features, wanted)
        if kept is not None:
            again = "--again trains it once more"
            LOG.info(f"{settings.name}: already trained with these settings ({again})")
            _say_result(features, kept, start)
            return
        if "weights" in features.optional:
            LOG.info(
                "note: image weights apply to heads only; fine-tuning weighs all images equally"
            )
        Finetuning.open(run, features, start, settings, data, weights, device).run(wanted)
        _say_result(features, run.find(settings.name, features), start)


@dataclass(frozen=True)
class Finetuning:
    """All that fine-tuning needs; `open` finds it.

    Attributes
    ----------
    head : Head
        The fitted head that training starts from.
    files : dict of str to LabelledFiles
        Images of each split.
    """

    source: Run
    features: FeatureFile
    head: Head
    settings: FinetuneSettings
    network: SplitNetwork
    files: dict[str, LabelledFiles]
    devices: Devices

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
    ) -> "Finetuning":
        """Open the head, the network and the images; see `finetune`."""
        head = load_trained_head(start)
        require_composable(head)
        require_all_classes(head, settings.start, len(features.classes))
        backbone = reopen_backbone(features.identity, weights or features.config.weights)
        if not isinstance(backbone, KerasNetwork):
            raise RunError(
                f"{run.features_path}: {features.identity.backbone} has no layers to fine-tune. "
                "Extract with a network: headbench features DATA --backbone resnet50."
            )
        if features.identity.views:
            raise RunError(
                f"{run.features_path}: expected one view of each image, found views "
                f"{features.identity.views}: fine-tuning trains on single pictures. Make a run for "
                "it: 'headbench features DATA --views one --name NAME', then 'headbench heads'."
            )
        images = images_of(features, data)
        files = {split: open_split(features, split, images) for split in SPLITS}
        network = SplitNetwork.open(backbone, settings.unfreeze)
        return cls(run, features, head, settings, network, files, find_devices(device))

    def run(self, wanted: Record) -> None:
        """Train, measure and save."""
        started = time.perf_counter()
        settings, network, devices = self.settings, self.network, self.devices
        model = TrainableNetwork.create(network, self.head, settings, devices)
        dtype = precision(settings, devices)
        n_weights = sum(int(np.prod(each.shape)) for each in model.steps.model.trainable_variables)
        LOG.info(
            f"{network.backbone.name}: training {n_weights / 1e6:.1f} million weights, from "
            f"{network.trained[0]} on, on {describe_devices(devices)}, {dtype}"
        )
        identity = {
            "settings": wanted.settings,
            "made_by": wanted.made_by,
            "features": self.features.identity.fingerprint,
            "table": wanted.features_digest,
            "devices": devices.names,
            "precision": dtype,
        }
        checkpoint = Checkpoint(self.source.folder / f".{settings.name}.training", identity)
        loop = Loop(model.steps, *self.inputs(), self.weights, settings, checkpoint)
        state = loop.run()
        LOG.info(_verdict(state, settings))
        chosen, fit_seconds = {"epoch": state.best_epoch}, time.perf_counter() - started
        if state.best_epoch == settings.epochs:
            chosen[AT_LIMIT] = True
        record = replace(wanted, chosen=chosen, history=state.history, fit_seconds=fit_seconds)
        self._save(model, record)
        checkpoint.remove()

    def inputs(self) -> tuple[Inputs, Inputs]:
        """Inputs of train and val; fills the cache of activations if it is used."""
        settings, train, val = self.settings, self.files["train"], self.files["val"]
        if not trains_on_activations(settings, self.network):
            images = AugmentedInputs(train) if settings.augment else ImageInputs(train)
            return images, ImageInputs(val)
        n_copies = min(settings.copies, settings.epochs)
        numbers = range(1, n_copies + 1) if settings.augment else [0]
        copies = [[Wanted(file, number) for file in train.files] for number in numbers]
        plain = [Wanted(file) for file in val.files]
        wanted = [*plain, *chain.from_iterable(copies)]
        store = cached_activations(self.source.folder, self.network, wanted, self.devices)
        keys = [[each.key for each in copy] for copy in (*copies, plain)]
        return (
            CachedInputs(store, keys[:-1], train.labels),
            CachedInputs(store, keys[-1:], val.labels),
        )

    @property
    def weights(self) -> NDArray[np.float64]:
        """Weight of each image of train, by the head's `class_weight`; float64 (n_train,)."""
        class_weight = getattr(self.head, "class_weight", None)
        if isinstance(class_weight, dict):
            # JSON has text keys only; classes that are not named have weight 1.
            n_classes = len(self.features.classes)
            class_weight = {label: class_weight.get(str(label), 1) for label in range(n_classes)}
        weights = compute_sample_weight(class_weight, self.files["train"].labels)
        return np.asarray(weights, dtype=np.float64)

    def _save(self, model: TrainableNetwork, record: Record) -> None:
        """Fit the temperature on val, measure the whole network in float32, and save it."""
        y_val, predict = self.files["val"].labels, self._predictor(model.whole(1.0))
        ones, raw = np.ones(len(y_val)), predict("val")
        # Epoch 0 contains the temperature of the head.
        temperature = fit_temperature(raw, y_val, ones) if record.chosen["epoch"] else 1.0
        val = sharpen(raw, temperature)
        started = time.perf_counter()
        test = sharpen(predict("test"), temperature)
        record = replace(
            record,
            predict_seconds=(time.perf_counter() - started) / len(test),
            calibration={
                "temperature": temperature,
                "log_loss": [mean_log_loss(y_val, each, ones) for each in (raw, val)],
                "ece": [calibration_error(y_val, each) for each in (raw, val)],
            },
        )
        with saving(self.source.trained_folder(record.name), record, val, test) as folder:
            model.whole(temperature).save(folder / NETWORK_FILE)

    def _predictor(self, whole: Any) -> Callable[[str], NDArray[np.float32]]:
        """A function of a split: probabilities of its images, float32 (n_images, n_classes)."""
        engine = engine_on(self.devices, lambda: whole)
        embedder = EngineEmbedder(engine, engine.batch_size, Stopwatch())

        def predict(split: str) -> NDArray[np.float32]:
            batches: Iterable[Any] = embedder(self.files[split].batches(engine.batch_size))
            probas = []
            with Progress(f"measure on {split}", len(self.files[split].labels)) as progress:
                for rows, proba in batches:
                    probas.append(proba)
                    progress.update(len(rows))
            return np.concatenate(probas)

        return predict


def _wanted(
    features: FeatureFile, start: Trained, settings: FinetuneSettings, command: str
) -> Record:
    """The record of a network that has not been trained yet."""
    record = start.record
    began = {"chosen": record.chosen, "settings": record.settings, "made_by": record.made_by}
    return Record(
        name=settings.name,
        chosen={},
        # Through JSON, so that it can be compared with a record that was read.
        settings=json.loads(json.dumps({**asdict(settings), "began": began})),
        history={},
        fit_seconds=0.0,
        predict_seconds=0.0,
        seed=settings.seed,
        classes=features.classes,
        dim=features.dim,
        features_digest=features.digest(),
        command=command,
    )


def _say_result(features: FeatureFile, tuned: Trained, start: Trained) -> None:
    """Log the test accuracy of the network and of the head that training started from."""
    names = (tuned.record.name, start.record.name)
    if tuned.record.settings["is_fresh"]:
        y = features.labels("val")
        ours, theirs = (mean_log_loss(y, each.val, np.ones(len(y))) for each in (tuned, start))
        LOG.info(
            f"val log loss (n = {len(y)}): {names[0]} {ours:.3f}, {names[1]} {theirs:.3f}; the "
            f"smaller one is better"
        )
    y = features.labels("test")
    shares = [percent(accuracy(y, each.test)) for each in (tuned, start)]
    right = {each.record.name: each.test.argmax(axis=1) == y for each in (tuned, start)}
    [difference] = compare_right(right)
    better = names[0] if difference.difference.value > 0 else names[1]
    seen = f"{better} is better" if difference.is_seen else "no difference seen"
    LOG.info(
        f"test accuracy (n = {len(y)}): {names[0]} {shares[0]}, {names[1]} {shares[1]}; {seen}: "
        f"{points(difference.difference)}, {p_value(difference.p)}"
    )


def _verdict(state: State, settings: FinetuneSettings) -> str:
    if state.best_epoch:
        kept = f"epoch {state.best_epoch} is kept: it has the smallest log loss on val"
        is_last = state.best_epoch == settings.epochs
        return f"{kept}. It is the last epoch: try more with --epochs" if is_last else kept
    did_not = "fine-tuning did not lower the log loss on val: epoch 0 is kept"
    if settings.is_fresh:
        return f"{did_not}, the unchanged network with a new, untrained head"
    return f"{did_not}, the unchanged network with {settings.start}"
