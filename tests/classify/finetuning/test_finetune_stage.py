"""Fine-tuning of a small network on three colours, end to end."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.errors import RunError
from headbench.classify.finetuning.finetune_settings import FinetuneSettings
from headbench.classify.finetuning.finetune_stage import Finetuning, finetune
from headbench.classify.finetuning.training_loop import Loop
from headbench.classify.metrics import log_losses
from headbench.classify.run import NETWORK_FILE, Run, Trained, rank
from headbench.classify.train_heads import train_heads
from headbench.classify.train_settings import TrainSettings
from headbench.extract.images.decode import decode
from headbench.extract.networks.backbone import reopen_backbone
from headbench.extract.networks.keras_runtime import load_keras
from tests.conftest import listen

FAST = FinetuneSettings(epochs=1, learning_rate=0.01, batch_size=16, copies=1)
# Large steps: whatever can move, moves.
LARGE = replace(FAST, learning_rate=0.1)
TWO_EPOCHS = replace(FAST, epochs=2, learning_rate=1e-4, unfreeze="conv_pw_12", augment=False)


@pytest.fixture(scope="module")
def own_run(network_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy of `network_run`, to fine-tune in every way."""
    folder = tmp_path_factory.mktemp("finetuning") / "runs/colors"
    return Run(shutil.copytree(network_run.folder, folder))


def tune(run: Run, settings: FinetuneSettings, **more) -> list[str]:
    said = listen()
    finetune(run, settings, None, None, **more)
    return said


def saved_network(run: Run, name: str):
    return load_keras().saving.load_model(run.trained_folder(name) / NETWORK_FILE, safe_mode=True)


def nested(network):
    [base] = [each for each in network.layers if each.name.startswith("mobilenet_")]
    return base


def weights_of(network, name: str) -> list[np.ndarray]:
    return network.get_layer(name).get_weights()


def images_of(run: Run, split: str) -> np.ndarray:
    with FeatureFile(run.features_path) as features:
        root = Path(features.config.data["folder"])
        paths = [root / features.table.paths[row] for row in features.rows(split)]
    return np.stack([decode(path.read_bytes(), 32) for path in paths])


@pytest.fixture(scope="module")
def block5(own_run: Run) -> Run:
    """After one epoch of large steps; whatever came of it is kept."""
    keep_last_epoch = pytest.MonkeyPatch()
    measure = Loop.measure

    def last_is_best(self, state, proba) -> None:
        measure(self, state, proba)
        state.best_epoch = state.epoch
        state.best_weights = [variable.numpy() for variable in self._kept]

    keep_last_epoch.setattr(Loop, "measure", last_is_best)
    tune(own_run, LARGE)
    keep_last_epoch.undo()
    return own_run


def test_every_batch_normalization_is_bit_equal_and_only_the_last_block_changed(
    block5: Run,
) -> None:
    with FeatureFile(block5.features_path) as features:
        before = reopen_backbone(features.identity, features.config.weights).base()
    after = nested(saved_network(block5, "finetuned"))
    changed = {
        layer.name
        for layer in before.layers
        if layer.weights
        and any(map(np.any, map(np.not_equal, layer.get_weights(), weights_of(after, layer.name))))
    }
    assert changed == {"conv_dw_12", "conv_pw_12", "conv_dw_13", "conv_pw_13"}
    norms = [each for each in before.layers if each.name.endswith("_bn")]
    assert len(norms) == 27


def test_training_does_not_use_batch_statistics(block5: Run) -> None:
    """In training mode an image's output is what it is in inference mode, whoever is beside it."""
    network, images = saved_network(block5, "finetuned"), images_of(block5, "val")[:6]
    inference = np.asarray(network(images, training=False))
    np.testing.assert_allclose(np.asarray(network(images, training=True)), inference, atol=1e-5)
    alone = np.asarray(network(images[:1], training=True))
    np.testing.assert_allclose(alone, inference[:1], atol=1e-5)


def test_the_saved_network_gives_the_kept_probabilities(block5: Run) -> None:
    with FeatureFile(block5.features_path) as features:
        tuned = block5.find("finetuned", features)
    network = saved_network(block5, "finetuned")
    for split, kept in (("val", tuned.val), ("test", tuned.test)):
        found = network.predict(images_of(block5, split), verbose=0)
        np.testing.assert_allclose(found, kept, atol=1e-5)


def test_the_record_holds_curves_a_temperature_and_what_it_began_from(block5: Run) -> None:
    with FeatureFile(block5.features_path) as features:
        y, tuned = features.labels("val"), block5.find("finetuned", features)
        start = block5.find("logreg", features)
    record = tuned.record
    assert {key: len(values) for key, values in record.history.items()} == {
        "train_loss": 1,
        "train_top1": 1,
        "val_log_loss": 2,
        "val_top1": 2,
    }
    assert record.settings["began"]["chosen"] == start.record.chosen
    # Its last one: more epochs might be better.
    assert record.chosen == {"epoch": 1, "is_at_limit": True}
    assert record.predict_seconds > 0
    assert record.calibration["temperature"] != 1
    assert record.calibration["log_loss"][1] == pytest.approx(log_losses(y, tuned.val).mean())
    assert record.calibration["log_loss"][1] < record.calibration["log_loss"][0]


@pytest.mark.parametrize("start", ["logreg", pytest.param("mlp-128", marks=pytest.mark.long)])
def test_epoch_0_is_the_head_it_starts_from(own_run: Run, start: str) -> None:
    said = tune(own_run, replace(FAST, start=start, epochs=0, unfreeze="conv_pw_13"))
    with FeatureFile(own_run.features_path) as features:
        y, head = features.labels("val"), own_run.find(start, features)
        tuned = own_run.find("finetuned-conv_pw_13", features)
        ranked = rank([tuned, head], y)
    n_right = int((head.val.argmax(axis=1) == y).sum())
    assert abs(round(tuned.record.history["val_top1"][0] * len(y)) - n_right) <= 1
    np.testing.assert_allclose(tuned.val, head.val, atol=1e-4)
    np.testing.assert_allclose(tuned.test, head.test, atol=1e-4)
    assert said[-2] == (
        "fine-tuning did not lower the log loss on val: epoch 0 is kept, the unchanged network "
        f"with {start}"
    )
    assert "; no difference seen: +0.0 points" in said[-1]
    # Of two that are equal the head is taken, which is lighter.
    assert ranked[0].record.name == start


@pytest.mark.parametrize("epochs", [0, pytest.param(1, marks=pytest.mark.long)])
def test_a_head_drawn_anew_is_not_called_the_trained_one(own_run: Run, epochs: int) -> None:
    start = replace(FAST, start="mlp-128", is_fresh=True, unfreeze="conv_dw_13")
    fresh = replace(start, epochs=epochs, learning_rate=1e-6)
    said = tune(own_run, fresh)
    with FeatureFile(own_run.features_path) as features:
        y, head = features.labels("val"), own_run.find("mlp-128", features)
        tuned = own_run.find(fresh.name, features)
    losses = [log_losses(y, each.val).mean() for each in (tuned, head)]
    assert losses[0] > losses[1]
    assert not any("unchanged network with mlp-128" in line for line in said)
    assert any("with a new, untrained head" in line for line in said) == (epochs == 0)
    compared = f"{fresh.name} {losses[0]:.3f}, mlp-128 {losses[1]:.3f}; the smaller one is better"
    assert f"val log loss (n = {len(y)}): {compared}" in said


def test_what_is_there_with_the_same_settings_is_not_trained_again(block5: Run) -> None:
    said = tune(block5, LARGE)
    trained = "finetuned: already trained with these settings (--again trains it once more)"
    assert said[0] == trained
    assert said[1].startswith("test accuracy (n = ")


def test_again_trains_again_and_takes_the_activations_that_are_cached(own_run: Run) -> None:
    folder = own_run.trained_folder("finetuned")
    before = (folder / NETWORK_FILE).stat().st_mtime_ns
    settings = FinetuneSettings(epochs=0, label_smoothing=0.1)
    said = tune(own_run, settings, is_again=True)
    assert any(line.startswith("epoch 0: val accuracy") for line in said)
    assert not any("frozen layers" in line for line in said)
    assert (folder / NETWORK_FILE).stat().st_mtime_ns > before


@pytest.fixture(scope="module")
def two_epochs(own_run: Run) -> Trained:
    """After two small epochs on cached activations, without an interruption."""
    tune(own_run, TWO_EPOCHS)
    with FeatureFile(own_run.features_path) as features:
        return own_run.find(TWO_EPOCHS.name, features)


def assert_same_curves(found: Trained, expected: Trained, rtol: float, atol: float = 0.0) -> None:
    curves = expected.record.history
    assert found.record.history.keys() == curves.keys()
    for name, values in curves.items():
        np.testing.assert_allclose(
            found.record.history[name], values, rtol=rtol, atol=atol, err_msg=name
        )


def test_with_and_without_the_cache_of_the_frozen_part_the_curves_are_the_same(
    own_run: Run, two_epochs: Trained
) -> None:
    said = tune(own_run, replace(TWO_EPOCHS, cache_trunk=False))
    assert not any("frozen layers" in line for line in said)
    with FeatureFile(own_run.features_path) as features:
        whole = own_run.find(TWO_EPOCHS.name, features)
    assert_same_curves(whole, two_epochs, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(
            replace(
                FAST, unfreeze="half", learning_rate=1e-4, label_smoothing=0.1, weight_decay=0.1
            ),
            marks=pytest.mark.long,
        ),
        pytest.param(
            replace(FAST, unfreeze="all", learning_rate=1e-4),
            marks=pytest.mark.long,
        ),
        pytest.param(
            replace(FAST, unfreeze="conv_dw_13", start="mlp-128", is_fresh=True),
            marks=pytest.mark.long,
        ),
        pytest.param(
            replace(FAST, augment=False, learning_rate=1e-4),
            marks=pytest.mark.long,
        ),
        replace(FAST, unfreeze="conv_pw_13", precision="mixed_float16"),
    ],
    ids=lambda settings: settings.name,
)
def test_every_way_ends_in_a_network_that_gives_what_was_kept(
    own_run: Run, settings: FinetuneSettings
) -> None:
    tune(own_run, settings)
    with FeatureFile(own_run.features_path) as features:
        tuned = own_run.find(settings.name, features)
    found = saved_network(own_run, settings.name).predict(images_of(own_run, "test"), verbose=0)
    np.testing.assert_allclose(found, tuned.test, atol=1e-5)
    assert tuned.record.settings["unfreeze"] == settings.unfreeze


@pytest.mark.long
def test_an_interrupted_fine_tuning_goes_on_to_the_same_network(
    own_run: Run, two_epochs: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = Loop.epoch

    def killed(self, state):
        if state.epoch == 1:
            raise KeyboardInterrupt
        return epoch(self, state)

    monkeypatch.setattr(Loop, "epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        tune(own_run, TWO_EPOCHS, is_again=True)
    monkeypatch.setattr(Loop, "epoch", epoch)
    said = tune(own_run, TWO_EPOCHS, is_again=True)
    assert any(line.startswith("resuming after epoch 1") for line in said)
    with FeatureFile(own_run.features_path) as features:
        resumed = own_run.find(TWO_EPOCHS.name, features)
    assert_same_curves(resumed, two_epochs, rtol=1e-4)
    np.testing.assert_allclose(resumed.test, two_epochs.test, atol=1e-4)
    assert not list(own_run.folder.glob(".finetuned*"))


def test_images_of_rare_classes_count_as_they_did_for_the_head(own_run: Run) -> None:
    train_heads(own_run, ["mlp-32"], 0, TrainSettings(common={"class_weight": "balanced"}))
    with FeatureFile(own_run.features_path) as features:
        start = own_run.find("mlp-32", features)
        tuning = Finetuning.open(own_run, features, start, FAST, None, None, "auto")
        labels, weights = features.labels("train"), tuning.weights
    totals = [weights[labels == label].sum() for label in range(3)]
    np.testing.assert_allclose(totals, len(labels) / 3)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("learning_rate", -1), ("label_smoothing", 1), ("weight_decay", float("nan"))],
)
def test_a_setting_out_of_its_range_is_refused(own_run: Run, setting: str, value: float) -> None:
    with pytest.raises(RunError, match=f"--{setting.replace('_', '-')}: expected a number"):
        finetune(own_run, replace(FAST, **{setting: value}), None, None)


def test_without_the_logistic_regression_it_says_what_to_run(run: Run) -> None:
    with pytest.raises(RunError, match=r"headbench heads .* --heads logreg"):
        finetune(run, FAST, None, None)


def test_a_backbone_without_layers_cannot_be_fine_tuned(run: Run) -> None:
    train_heads(run, ["logreg"], seed=0)
    with pytest.raises(RunError, match="mean-color has no layers to fine-tune"):
        finetune(run, FAST, None, None)


def test_a_head_that_is_not_made_of_layers_is_refused(run: Run) -> None:
    train_heads(run, ["knn"], seed=0)
    with pytest.raises(RunError, match=r"KNN cannot be converted to Keras layers"):
        finetune(run, replace(FAST, start="knn"), None, None)


def test_moved_images_are_asked_for(own_run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="Name their folder with --data"):
        finetune(own_run, replace(FAST, seed=9), tmp_path / "gone", None)


def test_an_image_that_changed_since_extraction_is_named(
    own_run: Run, network_photos: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(network_photos, tmp_path / "photos"))
    with FeatureFile(own_run.features_path) as features:
        changed = features.table.paths[features.rows("val")[0]]
    shutil.copy(copy / "red/001.png", copy / changed)
    with pytest.raises(RunError, match=rf"{changed}: its content changed"):
        finetune(own_run, replace(FAST, cache_trunk=False), copy, None)
