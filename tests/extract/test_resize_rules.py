"""Runs of each resize rule: what is embedded, reused, refused and found again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headbench.cache.errors import FeatureFileError
from headbench.cache.reader import FeatureFile
from headbench.extract.errors import DataError
from headbench.extract.images.decode import decode
from headbench.extract.images.resizing import Resizing
from headbench.extract.rerun import rerun_features
from headbench.extract.settings import LETTERBOX, NONE, SQUASH, ExtractSettings, Runtime
from headbench.extract.stage import extract_features
from headbench.extract.tensors import extract_dataset
from tests.conftest import COLORS, write_image
from tests.extract.sources.tars import write_shards

SIZE_PX = 16


def stored(path: Path) -> dict[str, np.ndarray]:
    with FeatureFile(path) as features:
        X = features.read(np.arange(features.n_images))
        return dict(zip(features.table.paths, X, strict=True))


@pytest.mark.parametrize("rule", [SQUASH, LETTERBOX])
def test_a_rule_decides_embeddings_and_their_identity(
    photos: Path, settings: ExtractSettings, rule: str
) -> None:
    out = photos.parent / "features.h5"
    extract_features(photos, out, replace(settings, resize=rule))
    for path, embedding in stored(out).items():
        pixels = decode((photos / path).read_bytes(), Resizing(SIZE_PX, rule))
        np.testing.assert_allclose(embedding, pixels.mean(axis=(0, 1)), rtol=1e-6)
    with pytest.raises(FeatureFileError, match=r"other settings \(resize '.*both|longer"):
        extract_features(photos, out, settings)
    # The rule is found in the file.
    with FeatureFile(out) as features:
        again = rerun_features(features, 20, 0, None, None, Runtime())
    assert again.mismatches() == []


def test_a_rule_holds_for_images_that_python_holds(
    settings: ExtractSettings, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (8, 24, 3), dtype=np.uint8) for _ in range(30)]
    labelled = [(each, "ab"[row % 2]) for row, each in enumerate(pixels)]
    out = tmp_path / "features.h5"
    extract_dataset(labelled, None, out, replace(settings, resize=LETTERBOX))
    frame = np.array([124, 116, 104]) * (1 - 5 / 16)  # 24 x 8 px become 16 x 5
    for embedding in stored(out).values():
        assert np.abs(embedding - frame - 127.5 * 5 / 16).max() < 10


@pytest.fixture(params=["folder", "shards"])
def other_sizes(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    """Pictures of 16 x 16 px, and some of 32 x 24."""
    photos = tmp_path / "photos"
    for number, (name, color) in enumerate(COLORS.items()):
        for image in range(20):
            path = photos / name / f"{image:03}.png"
            write_image(path, 1000 * number + image, color)
            if image >= 3:
                Image.open(path).resize((SIZE_PX, SIZE_PX)).save(path)
    if request.param == "folder":
        return photos
    write_shards(photos, tmp_path / "shards")
    return f"{tmp_path}/shards/{{000..002}}.tar"


def test_without_resizing_other_sizes_are_listed_and_other_rules_take_them(
    other_sizes: str | Path,
    settings: ExtractSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What is known of shards counts, however young they are.
    monkeypatch.setattr("headbench.extract.shard_contents.TICK_NS", -(10**12))
    out = tmp_path / "runs/features.h5"
    only = replace(settings, resize=NONE)
    for _ in range(2):
        table = extract_features(other_sizes, out, only)
        assert len(table.paths) == 51
        assert {each.reason for each in table.rejected} == {
            "32x24 px: --resize none takes pictures of 16x16 px only"
        }
    table = extract_features(other_sizes, out, replace(settings, resize=SQUASH, overwrite=True))
    assert (len(table.paths), table.rejected) == (60, ())


def test_a_rule_that_does_not_exist_is_refused(settings: ExtractSettings) -> None:
    with pytest.raises(DataError, match="resize: expected crop, squash, letterbox or none"):
        replace(settings, resize="stretch")
