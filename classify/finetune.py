"""Stage three: train the last block of the network, starting from the logistic regression."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.format import SPLITS
from cache.reader import FeatureFile
from classify.errors import RunError
from classify.heads.curves import Curves, train_epoch, train_metrics
from classify.heads.head import Head
from classify.heads.registry import load_head
from classify.labelled_files import LabelledFiles, open_split
from classify.metrics import accuracy
from classify.run import FINETUNED, NETWORK_FILE, Record, Run, saving
from classify.wording import percent
from extract.backbones import reopen_backbone
from extract.devices import describe_devices, find_devices
from extract.embedder import EngineEmbedder
from extract.engines import tensorflow_engine
from extract.keras_backbone import KerasBackbone
from extract.keras_runtime import load_keras
from extract.progress import Progress
from extract.stopwatch import Stopwatch

START = "logreg"


@dataclass(frozen=True)
class FinetuneSettings:
    """What a user may choose; the command line takes its defaults from here.

    Attributes
    ----------
    epochs : int
        Each pushes every training image through the whole network once.
    learning_rate : float
        Of Adam. Small: the head is trained already, and large steps undo the pretraining.
    batch_size : int
    seed : int
        Of the order of images.
    """

    epochs: int = 5
    learning_rate: float = 1e-5
    batch_size: int = 32
    seed: int = 0


def finetune(
    run: Run,
    settings: FinetuneSettings,
    data: Path | None,
    weights: str | None,
    say: Callable[[str], None],
    command: str = "",
) -> Record:
    """Train the last block and the head end to end; keep the epoch that is best on val.

    Epoch 0 is the network with the trained logistic regression on top, so what is kept is never
    worse on val than what it started from. BatchNormalization stays in inference mode throughout.

    Parameters
    ----------
    run : Run
        With a trained `logreg`.
    settings : FinetuneSettings
    data : Path or None
        The folder of images; None for the one that the features were made from.
    weights : str or None
        The backbone's weights; None for those that the features were made with.
    say : callable
        Told what happens, a line at a time.
    command : str
        The command line, kept in the record.

    Raises
    ------
    RunError, WeightsError, DataError, FeatureFileError
    """
    with FeatureFile(run.features_path) as features:
        start = run.find(START, features)
        backbone = reopen_backbone(features.identity, weights or features.config.weights)
        if not isinstance(backbone, KerasBackbone):
            raise RunError(
                f"{run.features_path}: {features.identity.backbone} has no layers to fine-tune."
            )
        root = data or Path(features.config.data["folder"])
        train, val, test = (
            open_split(features, split, root, settings.batch_size) for split in SPLITS
        )
        last_block = backbone.facts.last_block
        devices = find_devices()
        one_device = describe_devices(replace(devices, names=devices.names[:1]))
        say(f"{backbone.name} from {last_block[0]} on, on {one_device}")
        head = load_head(start.folder)
        model = build_model(backbone, head, len(features.classes))
        predictor = EngineEmbedder(
            tensorflow_engine(lambda: model), settings.batch_size, Stopwatch()
        )
        started = time.perf_counter()
        best_epoch, history = _train(model, predictor, train, val, settings, say)
        fit_seconds = time.perf_counter() - started
        val_proba = _predict(predictor, val)
        started = time.perf_counter()
        test_proba = _predict(predictor, test)
        predict_seconds = (time.perf_counter() - started) / len(test.files)
        record = Record(
            name=FINETUNED,
            chosen={"epoch": best_epoch},
            settings={**asdict(settings), "start": START, "trained": list(last_block)},
            history=history,
            fit_seconds=fit_seconds,
            predict_seconds=predict_seconds,
            seed=settings.seed,
            classes=features.classes,
            dim=features.dim,
            features_digest=features.table.digest(),
            command=command,
        )
    with saving(run.trained_folder(FINETUNED), record, val_proba, test_proba) as folder:
        model.save(folder / NETWORK_FILE)
    return record


def build_model(backbone: KerasBackbone, head: Head, n_classes: int) -> Any:
    """Preprocessing, network and the logistic regression's softmax in one model.

    Parameters
    ----------
    backbone : KerasBackbone
    head : LogReg
        Fitted; its standardisation is folded into its weights already.
    n_classes : int

    Returns
    -------
    keras.Model
        Takes uint8 (n, size_px, size_px, 3), RGB, 0-255; gives float32 (n, n_classes). Only the
        last block and the softmax train, and in that block no BatchNormalization.

    Raises
    ------
    RunError
        If the head has not seen all classes: its columns would not be those of the file.
    """
    if len(head.classes_) != n_classes:
        raise RunError(
            f"{START} knows {len(head.classes_)} of {n_classes} classes: expected images of every "
            "class in train. Add some and run 'make features' and 'make heads' again."
        )
    keras = load_keras()
    network = backbone.network()
    unfreeze(network, backbone.facts.last_block)
    softmax = keras.layers.Dense(head.bias_.size, activation="softmax", name="softmax")
    model = keras.Model(network.input, softmax(network.output), name=FINETUNED)
    # Its temperature too: epoch 0 gives the head's very probabilities.
    softmax.set_weights([head.kernel_ / head.temperature_, head.bias_ / head.temperature_])
    return model


def unfreeze(network: Any, last_block: tuple[str, ...]) -> None:
    """Let the layers of one block train, but never a BatchNormalization.

    ``training=False`` at build time does not protect those: `fit` overrides it in Keras 3
    (keras-team/keras#20285). Only ``trainable = False`` on each of them does.

    Parameters
    ----------
    network : keras.Model
        With the backbone as a model inside.
    last_block : tuple of str
        How the names of the layers to train begin.
    """
    keras = load_keras()
    for base in network.layers:
        if isinstance(base, keras.Model):
            # A frozen container hides what trains inside it, and thawing it thaws all its layers.
            base.trainable = True
            for layer in base.layers:
                is_norm = isinstance(layer, keras.layers.BatchNormalization)
                layer.trainable = layer.name.startswith(last_block) and not is_norm


def _train(
    model: Any,
    predictor: EngineEmbedder,
    train: LabelledFiles,
    val: LabelledFiles,
    settings: FinetuneSettings,
    say: Callable[[str], None],
) -> tuple[int, dict[str, list[float]]]:
    """Train, and put the weights of the best epoch back; gives its number and the curves.

    Curves on val begin with epoch 0, those on train with epoch 1.
    """
    keras = load_keras()
    keras.utils.set_random_seed(settings.seed)
    n_classes = model.output_shape[-1]
    model.compile(
        keras.optimizers.Adam(settings.learning_rate),
        "sparse_categorical_crossentropy",
        weighted_metrics=train_metrics(keras, n_classes),
    )
    rng = np.random.default_rng(settings.seed)
    curves = Curves(n_classes)
    best: tuple[float, float, int] = (-1.0, 0.0, 0)
    kept: list[Any] = []
    for epoch in range(settings.epochs + 1):
        if epoch > 0:
            curves.add_train(_train_epoch(model, train, rng, epoch))
        proba = _predict(predictor, val)
        top1 = accuracy(val.labels, proba)
        loss = curves.add_val(val.labels, proba, np.ones(len(proba)))
        say(f"epoch {epoch}: val top-1 {percent(top1)} (n={top1.n}), log loss {loss:.3f}")
        if (top1.value, -loss) > best[:2]:
            best = (top1.value, -loss, epoch)
            kept = [variable.numpy() for variable in model.trainable_variables]
    for variable, value in zip(model.trainable_variables, kept, strict=True):
        variable.assign(value)
    say(_verdict(best[2]))
    return best[2], curves.history


def _verdict(best_epoch: int) -> str:
    if best_epoch == 0:
        return (
            f"Fine-tuning did not help on val: epoch 0 is kept, the {START} that it started from."
        )
    return f"Epoch {best_epoch} is kept, the best on val."


def _train_epoch(
    model: Any, train: LabelledFiles, rng: np.random.Generator, epoch: int
) -> dict[str, float]:
    """Every image once; gives the means of loss and metrics over the epoch."""
    order = rng.permutation(len(train.files))
    labels = train.labels[order]
    with Progress(f"epoch {epoch}", len(order)) as progress:

        def batches() -> Iterator[tuple[Any, ...]]:
            for rows, images in train.batches(order):
                yield images, labels[rows]
                progress.update(len(rows))

        return train_epoch(model, batches())


def _predict(predictor: EngineEmbedder, split: LabelledFiles) -> NDArray[np.float32]:
    return np.concatenate([proba for _, proba in predictor(split.batches())])
