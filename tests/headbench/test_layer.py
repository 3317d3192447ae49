"""A network that is cut at layers, from images to the model that is handed on."""

from pathlib import Path

import numpy as np
import pytest

import headbench as hb
from headbench.classify.export.export_model import export_model
from headbench.classify.run import Run
from headbench.extract.images.decode import decode
from headbench.extract.networks.engines import relative_difference
from headbench.extract.networks.keras_runtime import load_saved
from tests.classify.export.conftest import predicted
from tests.conftest import listen
from tests.small_network import SIZE_PX, SMALL, write_weights

LAYER = "conv_pw_5_relu,conv_pw_11_relu"


@pytest.fixture(scope="module")
def made(network_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> hb.Run:
    folder = tmp_path_factory.mktemp("layer")
    options = {"backbone": SMALL, "weights": write_weights(folder), "size": SIZE_PX}
    run = hb.features(network_photos, str(folder / "cut"), layer=LAYER, **options)
    run.heads("ridge")
    return run


def test_an_embedder_gives_what_is_in_the_file(made: hb.Run, network_photos: Path) -> None:
    with made.open_features() as features:
        stored, weights = features.read(np.arange(features.n_images)), features.config.weights
        paths = [network_photos / each for each in features.table.paths]
    embedder = hb.Embedder(SMALL, weights=weights, size=SIZE_PX, layer=LAYER)
    assert relative_difference(embedder.fit_transform(paths), stored) < 1e-5
    assert len(embedder.get_feature_names_out()) == stored.shape[1] == 64 + 128


def test_a_run_with_nothing_to_do_builds_no_network(
    made: hb.Run, network_photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headbench.extract.networks.keras_network.cut_at", pytest.fail)
    with made.open_features() as features:
        weights = features.config.weights
    said = listen()
    hb.features(
        network_photos, str(made.folder), backbone=SMALL, weights=weights, size=SIZE_PX, layer=LAYER
    )
    assert any("nothing to do" in line for line in said)


def test_predictions_and_the_report_follow_the_cut(made: hb.Run, network_photos: Path) -> None:
    found = made.predict([network_photos / "red/000.png"], head="ridge")
    assert found[0].label == "red"
    page = (made.report().folder / "index.html").read_text()
    assert f"{SMALL} to {LAYER}, {SIZE_PX} px, 192 columns" in page
    assert f"<span>--layer</span> {LAYER}" in page


@pytest.mark.long
def test_fine_tuning_and_export_follow_the_cut(made: hb.Run, network_photos: Path) -> None:
    made.finetune(start="ridge", epochs=1)
    photos = sorted(network_photos.rglob("*.png"))[::10]
    pixels = np.stack([decode(path.read_bytes(), SIZE_PX) for path in photos])
    run = Run(made.folder)
    for head in ("ridge", "finetuned"):
        folder = export_model(run, head, None, None, None, ["keras"])
        found = load_saved(folder / "model.keras", compile=False).predict(pixels, verbose=0)
        np.testing.assert_allclose(found, predicted(run, head, photos), rtol=0, atol=1e-4)
