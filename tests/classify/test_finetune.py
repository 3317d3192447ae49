import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from cache.reader import FeatureFile
from classify import finetune as module
from classify.errors import RunError
from classify.finetune import FinetuneSettings, build_model, finetune
from classify.heads.curves import train_metrics
from classify.heads.registry import load_head
from classify.labelled_files import LabelledFiles, open_split
from classify.metrics import log_losses
from classify.run import NETWORK_FILE, Record, Run
from classify.train import train_heads
from extract.backbones import reopen_backbone
from extract.decode import decode
from extract.embedder import EngineEmbedder
from extract.engines import tensorflow_engine
from extract.keras_runtime import load_keras
from extract.stopwatch import Stopwatch
from extract.stream import ImageFile


@pytest.fixture
def model(network_run: Run):
    """The network with the logistic regression on top, as fine-tuning starts it."""
    with FeatureFile(network_run.features_path) as features:
        head = load_head(network_run.trained_folder("logreg"))
        return build_model(reopen_backbone(features.identity, "random"), head, 3)


def weights_of(model) -> dict[str, np.ndarray]:
    return {variable.path: variable.numpy() for variable in model.variables}


def train_an_epoch(model, photos: Path) -> None:
    keras = load_keras()
    paths = sorted(photos.rglob("*.png"))
    labels = np.array([["blue", "green", "red"].index(path.parent.name) for path in paths])
    files = LabelledFiles([ImageFile(path) for path in paths], labels.astype(np.int32), 32, 16)
    # Large steps: whatever can move, moves.
    model.compile(
        keras.optimizers.SGD(0.1),
        "sparse_categorical_crossentropy",
        weighted_metrics=train_metrics(keras, 3),
    )
    module._train_epoch(model, files, np.random.default_rng(0), epoch=1)


def test_batch_normalization_is_bit_equal_after_training(model, network_photos: Path) -> None:
    before = weights_of(model)
    train_an_epoch(model, network_photos)
    after = weights_of(model)
    statistics = [path for path in before if "_bn/" in path]
    assert len(statistics) == 53 * 4
    for path in statistics:
        np.testing.assert_array_equal(after[path], before[path], err_msg=path)


def test_only_the_last_block_and_the_softmax_train(model, network_photos: Path) -> None:
    before = weights_of(model)
    train_an_epoch(model, network_photos)
    after = weights_of(model)
    changed = {path for path in before if not np.array_equal(before[path], after[path])}
    assert {path.split("/")[-2].split("_")[0] for path in changed} == {"conv5", "softmax"}
    kernels = [path for path in before if "conv5" in path and path.endswith("conv/kernel")]
    assert len(kernels) == 10
    assert set(kernels) <= changed


def test_training_does_not_use_batch_statistics(model, network_photos: Path) -> None:
    """In training mode an image's output is what it is in inference mode, whoever is beside it."""
    paths = sorted(network_photos.rglob("*.png"))[:6]
    images = np.stack([decode(path.read_bytes(), 32) for path in paths])
    inference = np.asarray(model(images, training=False))
    np.testing.assert_allclose(np.asarray(model(images, training=True)), inference, atol=1e-5)
    np.testing.assert_allclose(
        np.asarray(model(images[:1], training=True)), inference[:1], atol=1e-5
    )


def test_training_starts_from_the_logistic_regressions_probabilities(
    model, network_run: Run
) -> None:
    with FeatureFile(network_run.features_path) as features:
        start = network_run.find("logreg", features)
        rows = features.rows("val")
        root = Path(features.config.data["folder"])
        paths = [root / features.table.paths[row] for row in rows]
    images = np.stack([decode(path.read_bytes(), 32) for path in paths])
    np.testing.assert_allclose(model.predict(images, verbose=0), start.val, atol=1e-4)


def test_epoch_0_has_the_logistic_regressions_accuracy_and_the_best_epoch_is_kept(
    network_run: Run,
) -> None:
    with FeatureFile(network_run.features_path) as features:
        y = features.labels("val")
        start = network_run.find("logreg", features)
        tuned = network_run.find("finetuned", features)
    history = tuned.record.history
    start_right = int((start.val.argmax(axis=1) == y).sum())
    assert abs(round(history["val_top1"][0] * len(y)) - start_right) <= 1
    assert len(history["val_top1"]) == len(history["train_loss"]) + 1 == 2
    kept = (tuned.val.argmax(axis=1) == y).mean()
    assert kept == pytest.approx(max(history["val_top1"]))
    assert history["val_top1"][tuned.record.chosen["epoch"]] == max(history["val_top1"])


def test_curves_on_val_begin_with_epoch_0_and_on_train_with_epoch_1(network_run: Run) -> None:
    with FeatureFile(network_run.features_path) as features:
        y, tuned = features.labels("val"), network_run.find("finetuned", features)
    history = tuned.record.history
    assert {key: len(values) for key, values in history.items()} == {
        "train_loss": 1,
        "train_top1": 1,
        "val_log_loss": 2,
        "val_top1": 2,
    }
    kept = tuned.record.chosen["epoch"]
    assert history["val_log_loss"][kept] == pytest.approx(log_losses(y, tuned.val).mean(), rel=1e-4)


def test_the_record_knows_how_long_an_image_takes_and_the_command(
    network_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[Record] = []
    now = [0.0]

    @contextmanager
    def keep(folder: Path, record: Record, *_: object) -> Iterator[Path]:
        saved.append(record)
        yield folder

    def predict(_: object, split: LabelledFiles) -> np.ndarray:
        now[0] += 3.0 * len(split.files)
        return np.full((len(split.files), 3), 1 / 3, dtype=np.float32)

    monkeypatch.setattr(module, "saving", keep)
    monkeypatch.setattr(module, "_predict", predict)
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(load_keras().Model, "save", lambda *_: None)
    settings = FinetuneSettings(epochs=0)
    finetune(network_run, settings, None, None, lambda _: None, "make tea")
    assert saved[0].command == "make tea"
    assert saved[0].predict_seconds == pytest.approx(3.0)


def test_an_epoch_that_harms_is_undone(
    model, network_run: Run, network_photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def harm(model, *_: object) -> dict[str, float]:
        for variable in model.trainable_variables:
            variable.assign(variable * 0)
        return {"loss": 9.9, "top1": 0.25}

    monkeypatch.setattr(module, "_train_epoch", harm)
    with FeatureFile(network_run.features_path) as features:
        train, val = (open_split(features, name, network_photos, 16) for name in ("train", "val"))
        start = network_run.find("logreg", features).val
    predictor = EngineEmbedder(tensorflow_engine(lambda: model), 16, Stopwatch())
    said: list[str] = []
    settings = FinetuneSettings(epochs=2)
    best_epoch, history = module._train(model, predictor, train, val, settings, said.append)
    assert best_epoch == 0
    assert history["train_loss"] == [9.9, 9.9]
    assert history["train_top1"] == [0.25, 0.25]
    np.testing.assert_allclose(module._predict(predictor, val), start, atol=1e-4)
    assert "did not help" in said[-1]


def test_the_saved_network_gives_the_kept_probabilities(
    network_run: Run, network_photos: Path
) -> None:
    network = load_keras().saving.load_model(
        network_run.folder / "finetuned" / NETWORK_FILE, safe_mode=True
    )
    with FeatureFile(network_run.features_path) as features:
        tuned = network_run.find("finetuned", features)
        paths = [network_photos / features.table.paths[row] for row in features.rows("test")]
    images = np.stack([decode(path.read_bytes(), 32) for path in paths])
    np.testing.assert_allclose(network.predict(images, verbose=0), tuned.test, atol=1e-5)


def test_without_the_logistic_regression_it_says_what_to_run(run: Run) -> None:
    with pytest.raises(RunError, match="make heads HEADS=logreg"):
        finetune(run, FinetuneSettings(), None, None, lambda _: None)


def test_a_backbone_without_layers_cannot_be_fine_tuned(run: Run) -> None:
    train_heads(run, ["logreg"], seed=0, say=lambda _: None)
    with pytest.raises(RunError, match="mean-color has no layers to fine-tune"):
        finetune(run, FinetuneSettings(), None, None, lambda _: None)


def test_a_class_that_the_logistic_regression_has_not_seen_is_refused(network_run: Run) -> None:
    with FeatureFile(network_run.features_path) as features:
        head = load_head(network_run.trained_folder("logreg"))
        backbone = reopen_backbone(features.identity, "random")
    with pytest.raises(RunError, match="logreg knows 3 of 4 classes"):
        build_model(backbone, head, 4)


def test_moved_images_are_asked_for(network_run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="Name it with --data"):
        finetune(network_run, FinetuneSettings(), tmp_path / "gone", None, lambda _: None)


def test_an_image_that_changed_since_extraction_is_named(
    network_run: Run, network_photos: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "photos"
    shutil.copytree(network_photos, copy)
    with FeatureFile(network_run.features_path) as features:
        changed = features.table.paths[features.rows("val")[0]]
    shutil.copy(copy / "red/001.png", copy / changed)
    with pytest.raises(RunError, match=rf"{changed}: its content changed"):
        finetune(network_run, FinetuneSettings(), copy, None, lambda _: None)
