"""A run of whole pictures in a frame: every later stage resizes as its embeddings were made."""

from pathlib import Path

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.export import graph
from headbench.classify.export.export_formats import write_saved_model
from headbench.classify.export.export_model import draw_sample, export_model
from headbench.classify.export.exportable import Exportable
from headbench.classify.finetuning.finetune_settings import FinetuneSettings
from headbench.classify.finetuning.finetune_stage import finetune
from headbench.classify.labelled_files import images_of, open_split
from headbench.classify.report.measure import command_lines
from headbench.classify.report.opened_run import OpenedRun
from headbench.classify.run import Run
from headbench.classify.train_heads import train_heads
from headbench.extract.images.decode import decode
from headbench.extract.images.resizing import Resizing
from headbench.extract.networks.keras_runtime import load_keras
from headbench.extract.settings import LETTERBOX, ExtractSettings
from headbench.extract.stage import extract_features
from tests.classify.deployment.server.client import serving
from tests.classify.export.conftest import predicted
from tests.small_network import SIZE_PX, SMALL, write_weights


def make_run(folder: Path, photos: Path, backbone: str, weights: str) -> Run:
    run = Run(folder / "runs/framed")
    settings = ExtractSettings(backbone, weights, SIZE_PX, LETTERBOX)
    extract_features(photos, run.features_path, settings)
    train_heads(run, ["logreg"], seed=0)
    return run


@pytest.fixture(scope="module")
def framed_run(network_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Mean colours; not to be changed by a test."""
    return make_run(tmp_path_factory.mktemp("framed"), network_photos, "mean-color", "none")


def kept(run: Run, head: str, photos: Path) -> tuple[list[Path], np.ndarray]:
    """Images of test, and the probabilities that were kept at training."""
    with FeatureFile(run.features_path) as features:
        paths = [photos / features.table.paths[row] for row in features.rows("test")]
        return paths, run.find(head, features).test


def test_predictions_are_those_that_were_kept(framed_run: Run, network_photos: Path) -> None:
    paths, expected = kept(framed_run, "logreg", network_photos)
    np.testing.assert_allclose(predicted(framed_run, "logreg", paths), expected, atol=1e-5)


def test_the_server_gives_the_same(framed_run: Run, network_photos: Path) -> None:
    [path, *_], [expected, *_] = kept(framed_run, "logreg", network_photos)
    with serving(framed_run, max_mb=1) as client:
        answer = client.predict(path.read_bytes()).json["predictions"]
    found = {each["class"]: each["probability"] for each in answer}
    np.testing.assert_allclose([found[name] for name in sorted(found)], expected, atol=1e-5)


def test_fine_tuning_and_the_check_of_an_export_see_the_same_pictures(framed_run: Run) -> None:
    with FeatureFile(framed_run.features_path) as features:
        images = images_of(features, None)
        files = open_split(features, "test", images)
        [head] = framed_run.trained(features)
        sample = draw_sample(OpenedRun(framed_run, features, [head], head, images, ""))
    expected = [
        decode(each.path.read_bytes(), Resizing(SIZE_PX, LETTERBOX)) for each in files.files
    ]
    [(_, found)] = files.batches(len(expected))
    np.testing.assert_array_equal(found, expected)
    assert sample is not None
    of_sample = [decode(data, Resizing(SIZE_PX, LETTERBOX)) for data in sample.data]
    np.testing.assert_array_equal(sample.pixels, of_sample)


def test_a_saved_model_decodes_by_the_rule_of_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def noting(image_bytes, resizing):
        asked.append(resizing)
        return graph.tf.zeros([graph.tf.size(image_bytes), SIZE_PX, SIZE_PX, 3], graph.tf.uint8)

    monkeypatch.setattr(graph, "decode_batch", noting)
    keras, framed = load_keras(), Resizing(SIZE_PX, LETTERBOX)
    pixels = keras.Input((SIZE_PX, SIZE_PX, 3), dtype="uint8")
    means = keras.layers.GlobalAveragePooling2D()(keras.ops.cast(pixels, "float32"))
    exported = Exportable("means", keras.Model(pixels, means), ("r", "g", "b"), {}, framed)
    write_saved_model(exported, tmp_path / "model")
    assert set(asked) == {framed}


def test_the_report_repeats_the_rule_in_its_command(framed_run: Run) -> None:
    with FeatureFile(framed_run.features_path) as features:
        [head] = framed_run.trained(features)
        opened = OpenedRun(framed_run, features, [head], head, images_of(features, None), "")
        extraction, *_ = command_lines(opened)
    assert "--resize letterbox" in extraction


@pytest.mark.long
def test_a_fine_tuned_and_an_exported_network_see_the_same_pictures(
    network_photos: Path, tmp_path: Path
) -> None:
    run = make_run(tmp_path, network_photos, SMALL, write_weights(tmp_path))
    finetune(run, FinetuneSettings(epochs=1, learning_rate=0.01, copies=1), None, None)
    paths, expected = kept(run, "finetuned", network_photos)
    found = predicted(run, "finetuned", paths)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    # Compared with predict before it is kept: pixels and files.
    folder = export_model(run, "logreg", None, None, tmp_path / "out", ["saved_model"])
    readme = (folder / "README.md").read_text()
    assert "RGB; longer side to 32 px, antialiased bilinear (Pillow)" in readme
