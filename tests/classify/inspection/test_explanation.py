from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.special import softmax

from headbench.classify.deployment.classifier import open_classifier
from headbench.classify.inspection.explanation import (
    CAM,
    COLOR,
    GRID,
    OCCLUSION,
    Explainer,
    tinted,
)
from headbench.classify.run import Run
from headbench.classify.train_heads import train_heads
from headbench.extract.images.decode import decode
from headbench.extract.images.resizing import PADDING
from headbench.extract.settings import ExtractSettings, Runtime
from headbench.extract.stage import extract_features
from headbench.extract.stopwatch import Stopwatch
from tests.conftest import write_class_folders
from tests.small_network import SMALL, write_weights

SIZE_PX, SIDE = 160, 5


def make_run(folder: Path, layer: str, *heads: str) -> Run:
    photos = write_class_folders(folder / "photos", n_per_class=12)
    run = Run(folder / "runs/colors")
    settings = ExtractSettings(SMALL, write_weights(folder), SIZE_PX, layer=layer)
    extract_features(photos, run.features_path, settings)
    train_heads(run, heads, seed=0)
    return run


@pytest.fixture(scope="module")
def mapped_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Three colours by the small network at a size where it has a map of 5 x 5 positions."""
    return make_run(tmp_path_factory.mktemp("mapped"), "", "logreg", "ridge", "mlp-128")


@pytest.fixture(scope="module")
def early_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same cut early, where each of 20 x 20 positions sees less than 48 pixels around it."""
    return make_run(tmp_path_factory.mktemp("early"), "conv_pw_5_relu", "logreg")


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (SIZE_PX, SIZE_PX, 3), dtype=np.uint8)


def explainer_of(run: Run, head: str) -> Explainer:
    return Explainer(open_classifier(run, head, None), Runtime("cpu"))


def proba_of(explainer: Explainer, *pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    classifier, images = explainer.classifier, np.stack(pictures)
    embedder = classifier.network.open(Runtime("cpu"), images[:1], Stopwatch())
    return classifier.proba(embedder.infer(images))


@pytest.mark.parametrize("head", ["logreg", "ridge"])
def test_the_mean_of_a_class_activation_map_is_the_score_of_the_class(
    mapped_run: Run, picture: NDArray[np.uint8], head: str
) -> None:
    explainer = explainer_of(mapped_run, head)
    maps = explainer.maps(picture, [0, 1, 2])
    assert explainer.method == CAM
    assert maps.shape == (3, SIDE, SIDE)
    assert maps.dtype == np.float32
    temperature = explainer.classifier.head.temperature_
    found = softmax(maps.mean(axis=(1, 2)) / temperature)
    np.testing.assert_allclose(found, proba_of(explainer, picture)[0], atol=1e-5)


def test_the_map_changes_where_the_picture_does(early_run: Run, picture: NDArray[np.uint8]) -> None:
    explainer, other = explainer_of(early_run, "logreg"), picture.copy()
    other[-24:, :16] = 255
    change = np.abs(explainer.maps(other, [0]) - explainer.maps(picture, [0]))[0]
    rows, columns = np.nonzero(change > 1e-4 * change.max())
    # A position is 8 pixels; the change reaches up to 3 positions farther.
    assert (rows.min(), rows.max(), columns.min()) == (14, 19, 0)
    assert 2 <= columns.max() <= 4


def log_odds(proba: NDArray[np.float32], label: int) -> float:
    return float(np.log(proba[label] / (1 - proba[label])))


def test_heads_that_are_not_linear_are_explained_by_occlusion(
    mapped_run: Run, picture: NDArray[np.uint8]
) -> None:
    explainer = explainer_of(mapped_run, "mlp-128")
    assert explainer.maps(picture, [2, 0]).shape == (2, GRID, GRID)
    assert explainer.method == OCCLUSION


@pytest.mark.parametrize("head", ["logreg", "finetuned"])
def test_without_a_map_parts_of_the_picture_are_covered(network_run: Run, head: str) -> None:
    # At 32 px the small network has a single position.
    picture = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    explainer = explainer_of(network_run, head)
    maps = explainer.maps(picture, [1])
    assert explainer.method == OCCLUSION
    assert maps.shape == (1, GRID, GRID)
    covered = picture.copy()
    covered[-8:, :8] = PADDING
    proba = proba_of(explainer, picture, covered)
    lost = log_odds(proba[0], 1) - log_odds(proba[1], 1)
    assert maps[0, -1, 0] == pytest.approx(lost, rel=1e-2, abs=1e-3)


@pytest.mark.parametrize("rule", ["crop", "squash", "letterbox"])
def test_what_spoke_for_a_class_is_where_it_lies_in_the_picture(
    photos: Path, tmp_path: Path, rule: str
) -> None:
    run = Run(tmp_path / "runs/ruled")
    settings = ExtractSettings(backbone="mean-color", size_px=64, resize=rule)
    extract_features(photos, run.features_path, settings)
    train_heads(run, ["logreg"], seed=0)
    explainer = explainer_of(run, "logreg")
    # A wide picture: red in the lower part, a little left of the middle.
    wide = np.full((60, 90, 3), 128, dtype=np.uint8)
    wide[36:50, 30:44] = (210, 30, 30)
    path = tmp_path / "wide.png"
    Image.fromarray(wide).save(path)
    image = decode(path.read_bytes(), explainer.classifier.resizing)
    red = explainer.classifier.classes.index("red")
    [made] = tinted(image, explainer.maps(image, [red]))
    there = (image[..., 0] > 190) & (image[..., 1] < 60)
    # How orange each pixel is.
    share = made[..., 0].astype(float) - made[..., 2]
    place = np.array([np.average(axis, weights=share**2) for axis in np.indices(share.shape)])
    truth = np.array([axis[there].mean() for axis in np.indices(there.shape)])
    assert np.abs(place - truth).max() < 4


def test_maps_of_a_picture_have_one_scale_and_what_spoke_against_has_no_colour() -> None:
    image = np.full((40, 40, 3), 90, dtype=np.uint8)
    maps = np.zeros((3, 2, 2), dtype=np.float32)
    maps[0], maps[1], maps[2] = 2, 1, -3
    strong, weak, against = (each.astype(float) for each in tinted(image, maps, 20))
    assert strong.shape == (20, 20, 3)
    np.testing.assert_array_equal(against, 90)
    expected = 90 + 0.75 * (np.array(COLOR) - 90)
    np.testing.assert_allclose(strong, np.broadcast_to(expected, strong.shape), atol=0.5)
    np.testing.assert_allclose(weak - 90, (strong - 90) / 2, atol=1)


def test_nothing_that_spoke_for_a_class_is_no_division_by_zero() -> None:
    image = np.full((8, 8, 3), 90, dtype=np.uint8)
    [made] = tinted(image, np.zeros((1, 2, 2), dtype=np.float32))
    np.testing.assert_array_equal(made, image)
