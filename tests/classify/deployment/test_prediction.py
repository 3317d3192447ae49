import shutil
from pathlib import Path

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.deployment.classifier import open_classifier
from headbench.classify.deployment.named_images import expand
from headbench.classify.deployment.prediction import Prediction, predict_files
from headbench.classify.errors import RunError
from headbench.classify.run import NETWORK_FILE, Run
from headbench.classify.train_heads import train_heads
from headbench.extract.errors import WeightsError
from headbench.extract.images.stream import ImageFile, decoded_images
from headbench.extract.networks.backbone import embed_images, reopen_backbone
from headbench.extract.networks.keras_runtime import load_keras
from headbench.extract.settings import Runtime
from headbench.extract.stopwatch import Stopwatch
from tests.conftest import listen


def predict(
    run: Run, *images: Path, head: str | None = None, n_top: int = 3, **more
) -> list[Prediction]:
    classifier = open_classifier(run, head, None)
    paths = list(expand(list(map(str, images))))
    return list(predict_files(classifier, paths, n_top, **more))


@pytest.mark.parametrize("head", ["logreg", "mlp-128", "finetuned"])
def test_predictions_are_the_probabilities_that_were_kept_at_training(
    network_run: Run, network_photos: Path, head: str
) -> None:
    with FeatureFile(network_run.features_path) as features:
        trained = network_run.find(head, features)
        paths = [network_photos / features.table.paths[row] for row in features.rows("test")]
        classes = features.classes
    for prediction, kept in zip(predict(network_run, *paths, head=head), trained.test, strict=True):
        given = dict(prediction.top)
        np.testing.assert_allclose([given[name] for name in classes], kept, atol=1e-4)


def test_the_cached_embedding_is_the_one_that_prediction_sees(
    network_run: Run, network_photos: Path
) -> None:
    with FeatureFile(network_run.features_path) as features:
        X, _ = features.load("test")
        rows = features.rows("test")[:3]
        files = [ImageFile(network_photos / features.table.paths[row]) for row in rows]
        backbone = reopen_backbone(features.identity, features.config.weights)
    stopwatch = Stopwatch()
    images = decoded_images(files, 32, pytest.fail, stopwatch)
    alone = list(embed_images(backbone, images, Runtime(batch_size=1), stopwatch))
    assert [len(each.rows) for each in alone] == [1, 1, 1]
    found = np.concatenate([each.embeddings for each in alone])
    np.testing.assert_allclose(found, X[:3], atol=1e-5 * np.abs(X).max())


@pytest.fixture
def trained_run(run: Run) -> Run:
    train_heads(run, ["logreg", "lightgbm"], seed=0)
    return run


def test_classes_come_most_probable_first(trained_run: Run, photos: Path) -> None:
    [prediction] = predict(trained_run, photos / "red/000.png", n_top=2)
    assert prediction.top[0][0] == "red"
    assert len(prediction.top) == 2
    assert prediction.top[0][1] > prediction.top[1][1]
    assert prediction.reason is None


def test_folders_are_searched_and_files_stay_in_the_order_given(
    trained_run: Run, photos: Path
) -> None:
    images = (photos / "red/003.png", photos / "blue", photos / "green/001.png")
    predictions = predict(trained_run, *images)
    assert [p.path for p in predictions] == [
        photos / "red/003.png",
        *sorted((photos / "blue").iterdir()),
        photos / "green/001.png",
    ]
    assert [p.top[0][0] for p in predictions] == ["red", *["blue"] * 30, "green"]


def test_unusable_files_are_reported_in_their_place(
    trained_run: Run, photos: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"text")
    huge = tmp_path / "huge.jpg"
    with huge.open("wb") as file:
        file.truncate(40_000_000_000)
    predictions = predict(trained_run, tmp_path / "gone.jpg", photos / "red/000.png", bad, huge)
    assert [p.reason for p in predictions] == [
        "cannot be read: No such file or directory",
        None,
        "text, not an image",
        "larger than 512 MB (limit of feature extraction: --max-file-size)",
    ]
    assert predictions[0].top == ()


def test_other_weights_do_not_predict(network_run: Run) -> None:
    with pytest.raises(WeightsError, match="no-such-weights"):
        open_classifier(network_run, "logreg", "no-such-weights.h5")


def test_a_damaged_or_unsafe_network_is_refused(
    network_run: Run, network_photos: Path, tmp_path: Path
) -> None:
    run = Run(shutil.copytree(network_run.folder, tmp_path / "copy"))
    path = run.trained_folder("finetuned") / NETWORK_FILE
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(RunError, match=f"{path}: cannot be loaded"):
        predict(run, network_photos, head="finetuned")
    keras = load_keras()
    layer = keras.layers.Lambda(lambda pixels: pixels)
    keras.Sequential([keras.Input((32, 32, 3)), layer]).save(path)
    with pytest.raises(RunError, match=r"loaded .*code execution .*by default\)\. Delete"):
        predict(run, network_photos, head="finetuned")


def test_a_run_can_be_moved(trained_run: Run, photos: Path, tmp_path: Path) -> None:
    shutil.move(trained_run.folder, tmp_path / "elsewhere")
    [prediction] = predict(Run(tmp_path / "elsewhere"), photos / "red/000.png")
    assert prediction.top[0][0] == "red"


@pytest.mark.parametrize("engine", ["openvino", "tensorflow"])
def test_a_fine_tuned_network_runs_on_either_engine(
    network_run: Run, network_photos: Path, engine: str
) -> None:
    classifier = open_classifier(network_run, "finetuned", None)
    with FeatureFile(network_run.features_path) as features:
        rows, paths = features.rows("test"), features.table.paths
        kept = network_run.find("finetuned", features).test
    files = [network_photos / paths[row] for row in rows]
    said = listen()
    found = list(predict_files(classifier, files, 3, Runtime(engine=engine)))
    assert engine in said[-1].lower()
    assert len(said) == 1  # no word of an engine that disagrees
    for prediction, proba in zip(found, kept, strict=True):
        given = dict(prediction.top)
        np.testing.assert_allclose([given[name] for name in classifier.classes], proba, atol=1e-4)


def test_an_uncertain_answer_is_withheld_and_its_candidates_are_not(
    trained_run: Run, photos: Path
) -> None:
    paths = [photos / "red/000.png", photos / "gone.png"]
    [sure, gone] = predict(trained_run, *paths)
    threshold = sure.top[0][1]
    [at] = predict(trained_run, paths[0], min_confidence=threshold)
    [above, still_gone] = predict(trained_run, *paths, min_confidence=np.nextafter(threshold, 2))
    assert (at.label, at.is_abstained) == ("red", False)
    assert (above.label, above.is_abstained, above.top) == (None, True, sure.top)
    assert gone == still_gone
    assert not gone.is_abstained


def test_predictions_come_before_all_files_are_read(trained_run: Run, photos: Path) -> None:
    paths = [photos / "red/000.png"] * 2000
    classifier = open_classifier(trained_run, None, None)
    predictions = predict_files(classifier, paths, 1, Runtime(batch_size=4))
    next(predictions)
    # What is read from now on is not there any more.
    (photos / "red/000.png").unlink()
    reasons = [each.reason for each in predictions]
    n_before = reasons.index("cannot be read: No such file or directory")
    assert n_before < 200
    assert len(reasons) == 1999


def test_where_val_and_test_prefer_different_heads_predict_takes_vals(
    torn_run: tuple[Run, str],
) -> None:
    run, best = torn_run
    said = listen()
    assert open_classifier(run, None, None).name == best
    assert said == [f"head {best}, weights none"]


def test_a_head_that_nobody_named_and_that_is_no_better_than_prior_is_said_to_be(
    run_at_chance: Run,
) -> None:
    said = listen()
    open_classifier(run_at_chance, None, None)
    assert said == [
        "ridge is not recommended: on val it is not clearly better than prior, which always "
        "predicts one class. Its balanced accuracy is 0.0 % [0.0, 0.0], n = 16; that of prior is "
        "33.3 %. 'make doctor' searches for the cause.",
        "head ridge, weights none",
    ]
    del said[:]
    open_classifier(run_at_chance, "ridge", None)
    assert said == ["head ridge, weights none"]
