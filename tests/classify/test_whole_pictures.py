"""A run of whole pictures in a frame: every later stage resizes as its embeddings were made."""

from pathlib import Path

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.deployment.classifier import open_classifier
from headbench.classify.deployment.prediction import predict_files
from headbench.classify.export.export_model import export_model
from headbench.classify.finetuning.finetune_settings import FinetuneSettings
from headbench.classify.finetuning.finetune_stage import finetune
from headbench.classify.run import Run
from headbench.classify.train_heads import train_heads
from headbench.extract.settings import LETTERBOX, ExtractSettings
from headbench.extract.stage import extract_features
from tests.classify.deployment.server.client import serving
from tests.small_network import SIZE_PX, SMALL, write_weights


@pytest.fixture(scope="module")
def framed_run(network_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A head, and fine-tuned with augmentation; not to be changed by a test."""
    folder = tmp_path_factory.mktemp("framed")
    run, weights = Run(folder / "runs/framed"), write_weights(folder)
    settings = ExtractSettings(SMALL, weights, SIZE_PX, LETTERBOX)
    extract_features(network_photos, run.features_path, settings)
    train_heads(run, ["logreg"], seed=0)
    finetune(run, FinetuneSettings(epochs=1, augment=True, learning_rate=0.01), None, None)
    return run


def kept(run: Run, head: str, photos: Path) -> tuple[list[Path], np.ndarray]:
    """Images of test, and the probabilities that were kept at training."""
    with FeatureFile(run.features_path) as features:
        paths = [photos / features.table.paths[row] for row in features.rows("test")]
        return paths, run.find(head, features).test


@pytest.mark.parametrize("head", ["logreg", "finetuned"])
def test_predictions_are_those_that_were_kept(
    framed_run: Run, network_photos: Path, head: str
) -> None:
    paths, expected = kept(framed_run, head, network_photos)
    found = predict_files(open_classifier(framed_run, head, None), paths, 3)
    proba = [[proba for _, proba in sorted(each.top)] for each in found]
    np.testing.assert_allclose(proba, expected, atol=1e-4)


def test_the_server_gives_the_same(framed_run: Run, network_photos: Path) -> None:
    [path, *_], [expected, *_] = kept(framed_run, "logreg", network_photos)
    with serving(framed_run, max_mb=1) as client:
        answer = client.predict(path.read_bytes()).json["predictions"]
    found = {each["class"]: each["probability"] for each in answer}
    np.testing.assert_allclose([found[name] for name in sorted(found)], expected, atol=1e-4)


def test_an_exported_model_gives_the_same_and_says_what_it_takes(
    framed_run: Run, tmp_path: Path
) -> None:
    """Compared with predict before it is kept: pixels and files."""
    folder = export_model(framed_run, "logreg", None, None, tmp_path / "out", ["saved_model"])
    readme = (folder / "README.md").read_text()
    assert "| resize | longer side to 32 px (antialiased bilinear), centred; the rest" in readme
