from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.extract.rerun import choose_rows
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.cache.test_reader import rewrite
from tests.conftest import write_image
from tests.headbench.command import call

N_IMAGES = 90


@pytest.fixture(params=["float32", "float16"])
def path(
    request: pytest.FixtureRequest, photos: Path, tmp_path: Path, settings: ExtractSettings
) -> Path:
    """A feature file of `photos`, in either type."""
    features = tmp_path / "runs/colors/features.h5"
    extract_features(photos, features, replace(settings, store=request.param))
    return features


def check(path: Path, *options: object) -> int:
    rerun = () if "--rerun" in options else ("--rerun", 64)
    return call("verify", path, *rerun, *options)


def scale_rows(path: Path, names: list[str], factor: float) -> None:
    """Change stored embeddings, with matching checksums."""
    with FeatureFile(path) as features:
        rows = [features.table.paths.index(name) for name in names]
    with h5py.File(path, "a") as file:
        X = file["embeddings"][:]
        X[rows] = X[rows].astype(np.float32) * factor
        rewrite(file, "embeddings", X)


def test_what_was_embedded_as_stored_is_said_so(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = path.read_bytes()
    assert check(path) == check(path, "--rerun", 7, "--seed", 3) == 0
    said = capsys.readouterr().out.splitlines()
    first, second = (line for line in said if "embedded again" in line)
    assert first.startswith(f"{path}: 64 images embedded again (")
    assert first.endswith("): all as stored")
    assert second == f"{path}: 7 images embedded again (3 train, 2 val, 2 test): all as stored"
    assert path.read_bytes() == before


def test_each_embedding_that_is_another_one_is_named(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["blue/003.png", "green/007.png", "red/029.png"]
    scale_rows(path, names, 1.01)
    assert check(path, "--rerun", N_IMAGES) == 1
    out = capsys.readouterr().out
    assert ": 3 not as stored\n" in out
    found = [line.strip() for line in out.splitlines() if line.startswith("  ")]
    assert [line.split(":")[0] for line in found] == names
    assert all("its embedding differs from the stored one by " in line for line in found)
    assert out.endswith(f"{path}: Move it away and run 'headbench features' again.\n")


def test_rounding_to_float16_is_no_difference_and_as_much_in_float32_is(path: Path) -> None:
    with FeatureFile(path) as features:
        is_float16 = features.config.store == "float16"
    scale_rows(path, ["red/001.png"], 1.0005)
    assert check(path, "--rerun", N_IMAGES) == (0 if is_float16 else 1)


def test_images_that_changed_or_went_are_named(
    path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(photos / "blue/000.png", seed=4711)
    (photos / "blue/001.png").write_bytes(b"no image any more")
    (photos / "red/002.png").unlink()
    assert check(path, "--rerun", N_IMAGES) == 1
    out = capsys.readouterr().out
    assert ": 3 not as stored\n" in out
    assert [line for line in out.splitlines() if line.startswith("  ")] == [
        "  blue/000.png: its bytes have changed since it was embedded",
        "  blue/001.png: its bytes have changed since it was embedded",
        "  red/002.png: cannot be embedded again: cannot be read: No such file or directory",
    ]
    assert "'headbench features' embeds changed images again" in out


def test_images_that_are_gone_are_asked_for_and_looked_for_where_they_are_now(
    path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = photos.rename(photos.with_name("moved"))
    assert check(path) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {photos}: expected the images that the features were made")
    assert "Say where they are with --data" in error
    assert check(path, "--data", moved) == 0
    photos.mkdir()
    assert check(path) == 2
    assert "found none of 64 (" in capsys.readouterr().err


def test_a_network_is_opened_again_and_weights_that_are_gone_are_named(
    network_features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(network_features, "--rerun", 12) == 0
    assert "12 images embedded again (4 train, 4 val, 4 test): all as stored" in (
        capsys.readouterr().out
    )
    assert check(network_features, "--weights", tmp_path / "gone.h5") == 2
    assert f"weights {tmp_path}/gone.h5: expected" in capsys.readouterr().err
    assert check(network_features, "--weights", network_features) == 2
    assert "the features were made with another network (weights_hash" in capsys.readouterr().err


def test_a_damaged_file_or_none_ends_with_exit_code_2(tmp_path: Path) -> None:
    assert check(tmp_path / "nothing.h5") == check(tmp_path) == 2


def test_rows_are_spread_over_the_splits_and_follow_the_seed() -> None:
    splits = np.repeat(np.arange(3, dtype=np.uint8), [1000, 100, 5])
    rows = choose_rows(splits, 64, seed=0)
    assert np.bincount(splits[rows]).tolist() == [30, 29, 5]
    assert (np.diff(rows) > 0).all()
    assert rows.tolist() == choose_rows(splits, 64, seed=0).tolist()
    assert rows.tolist() != choose_rows(splits, 64, seed=1).tolist()
    assert choose_rows(splits, 5000, seed=0).tolist() == list(range(1105))
