"""``headbench origin`` as a user types it."""

from pathlib import Path

import pytest

from headbench.classify.origin import origin_stage
from headbench.classify.origin.origin_settings import OriginSettings
from headbench.extract.networks.keras_network import KerasBackbone
from headbench.extract.networks.keras_runtime import load_keras
from tests.headbench.command import call


def origin(*arguments: object) -> int:
    return call("origin", *arguments)


def test_a_missing_folder_and_missing_weights_are_one_clear_line(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert origin(tmp_path / "nowhere", "--out", out) == 2
    assert "nowhere: expected a folder of images, found nothing." in capsys.readouterr().err
    assert origin(photos, "--weights", tmp_path / "w.h5", "--size", 32, "--out", out) == 2
    assert "expected 'imagenet', 'random' or a weights file" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ("s3://bucket/photos", "a URL"),
        ("zip://photos::all.zip", "a URL"),
        ("list.csv", "a list of images"),
        ("shards/{0..9}.tar", "tar shards"),
    ],
)
def test_what_is_no_folder_is_one_clear_line(
    capsys: pytest.CaptureFixture[str], data: str, kind: str
) -> None:
    assert origin(data) == 2
    error = capsys.readouterr().err
    assert f"error: {data}: expected a folder of images on this machine, not {kind}. Copy" in error


@pytest.mark.parametrize("backbone", ["mean-color", "convnexttiny"])
def test_a_network_without_batch_normalization_is_refused(
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    backbone: str,
) -> None:
    # ConvNeXt has none either, and takes long to build.
    keras = load_keras()
    plain = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.GlobalAveragePooling2D()])
    monkeypatch.setattr(KerasBackbone, "base", lambda _: plain)
    given = ("--backbone", backbone, "--weights", "random", "--size", 32, "--out", tmp_path / "out")
    assert origin(photos, *given) == 2
    error = capsys.readouterr().err
    assert f"--backbone {backbone}: expected a network with BatchNormalization" in error
    assert "Take resnet50" in error


def test_an_unknown_head_is_refused_before_anything_is_loaded(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origin_stage, "create_backbone", lambda *_: pytest.fail("loaded"))
    assert origin(photos, "--head", "forest") == 2
    assert "unknown head 'forest'" in capsys.readouterr().err


def test_every_option_reaches_the_settings_and_the_folder_names_the_run(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []
    monkeypatch.setattr(origin_stage, "show_origin", lambda *arguments: given.extend(arguments))
    line = "--weights w.h5 --size 96 --seed 4 --head ridge --epochs 2 --batch-size 8"
    assert origin(photos, *line.split(), "--backbone", "resnet101") == 0
    assert given[1] == Path("runs/photos/origin")
    assert given[2] == OriginSettings("resnet101", "w.h5", 96, 4, "ridge", 2, 8)
    given.clear()
    assert origin(photos) == 0
    assert given[2] == OriginSettings()
