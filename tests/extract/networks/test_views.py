"""Several views of each image: what is averaged, in every engine, and what they go with."""

from dataclasses import replace

import numpy as np
import pytest

from headbench.extract.errors import DataError
from headbench.extract.networks.backbone import create_backbone, reopen_backbone
from headbench.extract.networks.engines import relative_difference
from headbench.extract.networks.keras_network import KerasBackbone
from headbench.extract.settings import FIVE_CROP, FLIP, ONE, SQUASH, VIEWS, ExtractSettings, Runtime
from headbench.extract.stopwatch import Stopwatch
from tests.small_network import SIZE_PX, SMALL, write_weights

FRAME_PX = 37  # 32 * 256 / 224, rounded


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_weights(tmp_path_factory.mktemp("weights"))


def views_by_hand(images: np.ndarray, views: str) -> list[np.ndarray]:
    if views == FLIP:
        return [images, images[:, :, ::-1]]
    first, last = slice(0, 32), slice(5, 37)
    corners = [images[:, rows, columns] for rows in (first, last) for columns in (first, last)]
    return [*corners, images[:, 2:34, 2:34]]


def pictures(views: str) -> np.ndarray:
    side = FRAME_PX if views == FIVE_CROP else SIZE_PX
    # Brighter to one side and to the bottom, so that no view is like another.
    noise = np.random.default_rng(0).integers(0, 100, (5, side, side, 3))
    ramp = np.linspace(0, 100, side)
    ramps = ramp[:, None, None] + 0.5 * ramp[None, :, None]
    return (noise + ramps).astype(np.uint8)


@pytest.mark.parametrize("views", [FLIP, FIVE_CROP])
@pytest.mark.parametrize("engine", ["tensorflow", "openvino"])
def test_an_embedding_is_the_mean_of_those_of_the_views(
    weights: str, views: str, engine: str
) -> None:
    images = pictures(views)
    single = KerasBackbone(SMALL, weights, SIZE_PX).network()
    each = [np.asarray(single(view, training=False)) for view in views_by_hand(images, views)]
    expected = np.mean(each, axis=0)
    assert min(relative_difference(some, expected) for some in each) > 1e-3
    backbone = create_backbone(SMALL, weights, SIZE_PX, views=views)
    embedder = backbone.open(Runtime(engine=engine), images[:4], Stopwatch())
    # Not the untouched network, which is taken if an engine disagrees.
    assert type(embedder).__name__ == "EngineEmbedder"
    tolerance = 1e-4 if engine == "openvino" else 1e-5
    assert relative_difference(embedder.infer(images), expected) < tolerance
    # Whoever is beside it.
    assert relative_difference(embedder.infer(images[3:4]), expected[3:4]) < tolerance


def test_in_float16_the_mean_is_taken_in_float32(weights: str) -> None:
    images = pictures(FIVE_CROP)
    exact = KerasBackbone(SMALL, weights, SIZE_PX, views=FIVE_CROP)
    folded = replace(exact, precision="mixed_float16").folded_network()
    found = np.asarray(folded(images, training=False))
    assert found.dtype == np.float32
    assert 0 < relative_difference(found, np.asarray(exact.network()(images))) < 5e-2


@pytest.mark.parametrize("views", VIEWS)
def test_views_are_found_in_a_file_and_one_view_leaves_the_fingerprint(
    weights: str, views: str
) -> None:
    backbone = create_backbone(SMALL, weights, SIZE_PX, views=views)
    assert reopen_backbone(backbone.identity, weights) == backbone
    assert backbone.identity.items.get("views", ONE) == views


def test_five_crops_go_with_the_crop_alone() -> None:
    with pytest.raises(DataError, match=r"expected resize crop, found 'squash'. Use views flip"):
        ExtractSettings(resize=SQUASH, views=FIVE_CROP)
    assert ExtractSettings(resize=SQUASH, views=FLIP).views == FLIP
    with pytest.raises(DataError, match="views: expected one, flip or 5crop, found 'ten'"):
        ExtractSettings(views="ten")


def test_mean_colours_have_one_view() -> None:
    with pytest.raises(DataError, match=r"--views flip: mean-color .* takes one view"):
        create_backbone("mean-color", "none", 16, views=FLIP)
