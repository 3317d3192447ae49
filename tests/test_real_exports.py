"""Exports of real weights, where there is nothing but TensorFlow, on 200 photographs at 96 px."""

import json
from pathlib import Path

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.export.export_model import export_model
from headbench.classify.finetuning.finetune_settings import FinetuneSettings
from headbench.classify.finetuning.finetune_stage import finetune
from headbench.classify.run import Run
from headbench.classify.train_heads import train_heads
from headbench.extract.images.decode import decode
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.classify.export.alone import run_alone
from tests.classify.export.conftest import predicted

pytestmark = pytest.mark.real

SIZE_PX = 96
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
    """Features of all 1 600 photographs, a head, a network after an epoch of fine-tuning."""
    run = Run(tmp_path_factory.mktemp("runs") / "food10")
    weights = str(shared / "weights/resnet50_notop.weights.h5")
    settings = ExtractSettings(weights=weights, size_px=SIZE_PX)
    extract_features(shared / "data/food10", run.features_path, settings)
    train_heads(run, ["logreg"], seed=0)
    finetune(run, FinetuneSettings(epochs=1), None, None)
    return run


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
