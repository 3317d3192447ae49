from typing import Any

import numpy as np
import pytest

from headbench.extract.networks.backbone import create_backbone
from headbench.extract.networks.feature_map import FeatureMaps, NoMapError, may_have_map
from headbench.extract.networks.keras_network import FLOAT16_TOLERANCE
from headbench.extract.settings import Runtime
from headbench.extract.stopwatch import Stopwatch
from tests.small_network import SMALL, write_weights

SIZE_PX = 96
IMAGES = np.random.default_rng(0).integers(0, 256, (4, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.mark.parametrize(
    ("engine", "options", "side"),
    [
        ("tensorflow", {}, 3),
        ("openvino", {}, 3),
        ("tensorflow", {"layer": "conv_pw_11_relu"}, 6),
        ("tensorflow", {"precision": "mixed_float16"}, 3),
    ],
)
def test_the_mean_over_positions_is_the_embedding(
    weights: str, engine: str, options: dict[str, Any], side: int
) -> None:
    backbone = create_backbone(SMALL, weights, SIZE_PX, **options)
    runtime, stopwatch = Runtime("cpu", engine), Stopwatch()
    expected = backbone.open(runtime, IMAGES, stopwatch).infer(IMAGES)
    maps = FeatureMaps(backbone).open(runtime, IMAGES, stopwatch).infer(IMAGES)
    positions = maps.reshape(len(IMAGES), side * side, backbone.dim)
    tolerance = FLOAT16_TOLERANCE if options.get("precision") else 1e-5
    np.testing.assert_allclose(
        positions.mean(axis=1), expected, atol=tolerance * np.abs(expected).max()
    )
    assert positions.std(axis=1).max() > 0.1 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("size_px", "options", "found"),
    [
        (SIZE_PX, {"pooling": "max"}, "GlobalMaxPooling2D"),
        (SIZE_PX, {"layer": "conv_pw_5_relu,conv_pw_11_relu"}, "Concatenate"),
        (64, {}, "(2, 2, 256)"),
    ],
)
def test_other_embeddings_have_no_map(
    weights: str, size_px: int, options: dict[str, Any], found: str
) -> None:
    backbone = create_backbone(SMALL, weights, size_px, **options)
    with pytest.raises(NoMapError) as error:
        FeatureMaps(backbone).open(Runtime(), IMAGES[:, :size_px, :size_px], Stopwatch())
    assert found in str(error.value)


def test_what_has_no_map_is_mostly_known_beforehand(weights: str) -> None:
    options: list[dict[str, Any]] = [
        *({"pooling": "max"}, {"layer": "conv_pw_5_relu,conv_pw_11_relu"}, {"views": "flip"}),
        *({}, {"layer": "conv_pw_11_relu"}),
    ]
    found = [
        may_have_map(create_backbone(SMALL, weights, SIZE_PX, **each).identity) for each in options
    ]
    assert found == [False, False, False, True, True]


def test_a_network_that_goes_on_after_the_average_has_no_map() -> None:
    """ConvNeXt normalises the mean: what positions contribute is not linear."""
    backbone = create_backbone("convnexttiny", "random", SIZE_PX)
    with pytest.raises(NoMapError, match="LayerNormalization"):
        FeatureMaps(backbone).open(Runtime(), IMAGES, Stopwatch())
