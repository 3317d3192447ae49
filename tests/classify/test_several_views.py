"""A run of several views of each image: every later stage averages them too."""

from pathlib import Path

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.errors import RunError
from headbench.classify.export.export_model import export_model
from headbench.classify.finetuning.finetune_settings import FinetuneSettings
from headbench.classify.finetuning.finetune_stage import finetune
from headbench.classify.run import Run
from headbench.classify.train_heads import train_heads
from headbench.extract.settings import FIVE_CROP, ExtractSettings
from headbench.extract.stage import extract_features
from tests.classify.export.conftest import predicted
from tests.small_network import SIZE_PX, SMALL, write_weights


@pytest.fixture(scope="module")
def viewed_run(network_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("views")
    run, weights = Run(folder / "runs/views"), write_weights(folder)
    settings = ExtractSettings(SMALL, weights, SIZE_PX, views=FIVE_CROP)
    extract_features(network_photos, run.features_path, settings)
    train_heads(run, ["logreg"], seed=0)
    return run


def test_predictions_are_those_that_were_kept(viewed_run: Run, network_photos: Path) -> None:
    with FeatureFile(viewed_run.features_path) as features:
        paths = [network_photos / features.table.paths[row] for row in features.rows("test")]
        expected = viewed_run.find("logreg", features).test
    np.testing.assert_allclose(predicted(viewed_run, "logreg", paths), expected, atol=1e-4)


def test_exported_models_average_the_views_themselves(viewed_run: Run, tmp_path: Path) -> None:
    """Each is compared with predict before it is kept."""
    folder = export_model(viewed_run, "logreg", None, None, tmp_path / "out", ["keras", "onnx"])
    readme = (folder / "README.md").read_text()
    assert "| size | 37 x 37 px |" in readme
    assert "; shorter side to 37 px, antialiased bilinear (Pillow)" in readme
    assert "the embeddings of its four corners and its centre are averaged |" in readme


def test_fine_tuning_says_what_to_do(viewed_run: Run) -> None:
    with pytest.raises(RunError, match=r"found views 5crop: .* --views one --name NAME'"):
        finetune(viewed_run, FinetuneSettings(epochs=1), None, None)
