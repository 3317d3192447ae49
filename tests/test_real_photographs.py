"""All stages on real photographs with true ImageNet weights: 10 classes of food, MobileNet 0.25.

The numbers are bounds that a sound pipeline clears by far and a broken one does not: chance is
0.10.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.deployment.classifier import open_classifier
from headbench.classify.deployment.prediction import predict_files
from headbench.classify.export.export_model import export_model
from headbench.classify.finetuning.finetune_settings import FinetuneSettings
from headbench.classify.finetuning.finetune_stage import finetune
from headbench.classify.heads.registry import HEADS
from headbench.classify.report.write import write_report
from headbench.classify.run import Run
from headbench.classify.train_heads import train_heads
from headbench.extract.images.decode import decode
from headbench.extract.images.stream import Batch
from headbench.extract.networks.backbone import create_backbone
from headbench.extract.networks.engines import (
    openvino_engine,
    relative_difference,
    tensorflow_engine,
)
from headbench.extract.networks.keras_runtime import load_keras
from headbench.extract.settings import ExtractSettings, Runtime
from headbench.extract.stage import extract_features
from headbench.extract.stopwatch import Stopwatch
from tests.classify.export.alone import run_alone
from tests.classify.export.conftest import predicted
from tests.small_network import SMALL

pytestmark = pytest.mark.real

CHANCE = 0.10
SIZE_PX = 128
WEIGHTS = "weights/mobilenet_alpha0.25_224_imagenet_notop.h5"
# What an export has to run without.
OTHERS = "sklearn,scipy,pandas,lightgbm,openvino,onnx,onnxruntime,tf2onnx,joblib,tqdm,torch"
LOADED_ALONE = """
import json, sys
import numpy as np
import tensorflow as tf

served = tf.saved_model.load(sys.argv[1] + "/saved_model").signatures["serving_default"]
network = tf.keras.models.load_model(sys.argv[1] + "/model.keras", safe_mode=True)
# One by one: they are of different sizes.
files = [tf.constant([open(path, "rb").read()]) for path in json.load(open("paths.json"))]
by_file = [served(image_bytes=each)["probabilities"].numpy()[0].tolist() for each in files]
by_keras = np.asarray(network(np.load("pixels.npy"))).tolist()
print(json.dumps({"saved_model": by_file, "keras": by_keras}))
"""


@pytest.fixture(scope="module")
def food(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Features of all 1 600 photographs, every head, one epoch of fine-tuning."""
    run = Run(tmp_path_factory.mktemp("runs") / "food10")
    weights = str(shared / WEIGHTS)
    settings = ExtractSettings(backbone=SMALL, weights=weights, size_px=SIZE_PX)
    extract_features(shared / "data/food10", run.features_path, settings)
    train_heads(run, list(HEADS), seed=0)
    finetune(run, FinetuneSettings(epochs=1, copies=1), None, None)
    return run


@pytest.mark.parametrize("engine", [pytest.param("tensorflow", marks=pytest.mark.long), "openvino"])
def test_embeddings_are_those_of_the_untouched_network_at_224_px(shared: Path, engine: str) -> None:
    paths = sorted((shared / "data/food10/images").glob("*/*.jpg"))[::150]
    pixels = np.stack([decode(path.read_bytes(), 224) for path in paths])
    applications = load_keras().applications
    network = applications.ResNet50(include_top=False, weights=None, pooling="avg")
    network.load_weights(shared / "weights/resnet50_notop.weights.h5")
    preprocessed = applications.resnet50.preprocess_input(pixels.astype(np.float32))
    expected = network.predict(preprocessed, verbose=0)
    weights = str(shared / "weights/resnet50_notop.weights.h5")
    backbone = create_backbone("resnet50", weights, 224)
    embedder = backbone.open(Runtime(engine=engine), pixels[:4], Stopwatch())
    [(_, found)] = embedder([Batch(np.arange(len(paths)), pixels)])
    assert relative_difference(found, expected) < 1e-5


@pytest.mark.long
def test_densenet169_of_imagenet_gives_what_keras_gives_folded_and_in_openvino(
    shared: Path,
) -> None:
    paths = sorted((shared / "data/food10/images").glob("*/*.jpg"))[::400]
    pixels = np.stack([decode(path.read_bytes(), 224) for path in paths])
    weights = str(shared / "weights/densenet169_imagenet_notop.h5")
    applications = load_keras().applications
    network = applications.DenseNet169(include_top=False, weights=None, pooling="avg")
    network.load_weights(weights)
    preprocessed = applications.densenet.preprocess_input(pixels.astype(np.float32))
    expected = network.predict(preprocessed, verbose=0)
    folded = create_backbone("densenet169", weights, 224).folded_network()
    for make in (tensorflow_engine, openvino_engine):
        assert relative_difference(make(lambda: folded).infer(pixels), expected) < 1e-5, make


def test_the_splits_are_those_of_food101(food: Run, shared: Path) -> None:
    with FeatureFile(food.features_path) as features:
        assert features.n_images == 1600
        assert features.table.rejected == ()
        listed = (shared / "data/food10/meta/test.txt").read_text().split()
        tested = {features.table.paths[row] for row in features.rows("test")}
        assert tested == {f"images/{name}.jpg" for name in listed}
        assert 180 < len(features.rows("val")) < 300


def test_no_head_is_near_chance(food: Run) -> None:
    results = write_report(food).to_json()
    assert len(results["heads"]) == len(HEADS) + 1
    for head in results["heads"]:
        if head["name"] == "prior":
            continue
        for split in ("val", "test"):
            assert head[split]["top1"]["low"] > 3 * CHANCE, head["name"]
            assert head[split]["log_loss"]["high"] < np.log(10), head["name"]


def test_logistic_regression_is_as_good_as_these_weights_allow(food: Run) -> None:
    [logreg] = [head for head in write_report(food).to_json()["heads"] if head["name"] == "logreg"]
    # 0.565 was measured on all 1 200 training photographs; here a fifth of them is val.
    assert logreg["test"]["top1"]["value"] > 0.48


def test_fine_tuning_starts_at_the_logistic_regressions_accuracy(food: Run) -> None:
    with FeatureFile(food.features_path) as features:
        y = features.labels("val")
        logreg, tuned = (food.find(name, features) for name in ("logreg", "finetuned"))
    start = int((logreg.val.argmax(axis=1) == y).sum())
    assert abs(round(tuned.record.history["val_top1"][0] * len(y)) - start) <= 1


@pytest.mark.parametrize("head", ["logreg", "finetuned"])
def test_predictions_for_copied_photographs_are_those_of_the_report(
    food: Run, shared: Path, tmp_path: Path, head: str
) -> None:
    with FeatureFile(food.features_path) as features:
        trained = food.find(head, features)
        rows = features.rows("test")[::10]
        for row in rows:
            name = f"{row:06}.jpg"
            shutil.copy(shared / "data/food10" / features.table.paths[row], tmp_path / name)
    classifier = open_classifier(food, head, None)
    predictions = predict_files(classifier, sorted(tmp_path.iterdir()), 10)
    for prediction, kept in zip(predictions, trained.test[::10], strict=True):
        given = dict(prediction.top)
        np.testing.assert_allclose([given[name] for name in features.classes], kept, atol=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("head", ["logreg", "finetuned"])
def test_tensorflow_alone_gives_what_predict_gives_of_real_photographs(
    food: Run, shared: Path, head: str, tmp_path: Path
) -> None:
    formats = ("saved_model", "keras")
    exported = export_model(food, head, None, None, tmp_path / "out", formats)
    with FeatureFile(food.features_path) as features:
        rows = features.rows("test")[::2]
        paths = [shared / "data/food10" / features.table.paths[row] for row in rows]
        classes = features.classes
    pixels = np.stack([decode(path.read_bytes(), SIZE_PX) for path in paths])
    np.save(tmp_path / "pixels.npy", pixels)
    (tmp_path / "paths.json").write_text(json.dumps(list(map(str, paths))))
    found = json.loads(run_alone(LOADED_ALONE, tmp_path, exported, barred=OTHERS))
    expected = predicted(food, head, paths, len(classes))
    assert expected.shape == (200, 10)
    assert np.ptp(expected) > 0.5
    for name in formats:
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-4)
