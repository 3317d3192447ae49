from pathlib import Path

import pytest

from cache import cli
from classify.__main__ import main
from classify.commands import origin as command
from classify.origin import stage
from classify.origin.epochs import Epoch, keras_line
from classify.origin.settings import OriginSettings
from classify.origin.stage import show_origin
from tests.classify.origin.conftest import SETTINGS, Shown
from tests.classify.origin.test_epochs import LINE


def call(*arguments: object) -> int:
    return cli.run(main, ["origin", *map(str, arguments)])


def test_what_is_said_holds_table_epochs_and_explanation(shown: Shown) -> None:
    text = "\n".join(shown.said)
    assert text.splitlines()[0].startswith("RANDOM WEIGHTS")
    assert "<- the origin" in text
    assert len([line for line in shown.said if LINE.fullmatch(line)]) == 2 * SETTINGS.epochs
    assert "As the origin had it" in text
    assert "1 files are left out" in text
    assert shown.said[-1].endswith("index.html, results.json")


def test_the_network_is_unchanged_and_every_image_is_counted(shown: Shown) -> None:
    results, splits = shown.results, shown.results["data"]["splits"]
    origin = results["origin"]
    assert origin["base_is_unchanged"] is True
    n_used = splits["train"] + splits["val"]
    assert origin["n_train"] + origin["val"]["n"] == n_used
    assert results["mended"]["n_train"] == origin["n_train"]
    assert results["command"] == "the command"
    assert origin["n_steps"] == SETTINGS.epochs * -(-origin["n_train"] // SETTINGS.batch_size)


def test_a_missing_folder_and_missing_weights_are_one_clear_line(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert call(tmp_path / "nowhere", "--out", out) == 2
    assert "nowhere: expected a folder of images, found nothing." in capsys.readouterr().err
    assert call(photos, "--weights", tmp_path / "w.h5", "--size", 32, "--out", out) == 2
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
    assert call(data) == 2
    error = capsys.readouterr().err
    assert f"error: {data}: expected a folder of images on this machine, not {kind}. Copy" in error


@pytest.mark.parametrize("backbone", ["mean-color", "convnexttiny"])
def test_a_network_without_batch_normalization_is_refused(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], backbone: str
) -> None:
    given = ("--backbone", backbone, "--weights", "random", "--size", 32, "--out", tmp_path / "out")
    assert call(photos, *given) == 2
    error = capsys.readouterr().err
    assert f"--backbone {backbone}: expected a network with BatchNormalization" in error
    assert "Take resnet50" in error


def test_an_unknown_head_is_refused_before_anything_is_loaded(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "create_backbone", lambda *_: pytest.fail("loaded"))
    assert call(photos, "--head", "forest") == 2
    assert "unknown head 'forest'" in capsys.readouterr().err


def test_every_option_reaches_the_settings_and_the_folder_names_the_run(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []
    monkeypatch.setattr(command, "show_origin", lambda *arguments: given.extend(arguments))
    line = "--weights w.h5 --size 96 --seed 4 --head ridge --epochs 2 --batch-size 8"
    assert call(photos, *line.split(), "--backbone", "resnet101") == 0
    assert given[1] == Path("runs/photos/origin")
    assert given[2] == OriginSettings("resnet101", "w.h5", 96, 4, "ridge", 2, 8)
    given.clear()
    assert call(photos) == 0
    assert given[2] == OriginSettings()


@pytest.mark.real
def test_on_photographs_the_origin_is_at_chance_and_what_is_right_is_not(
    shared: Path, tmp_path: Path
) -> None:
    """120 photographs of each of 4 classes at 64 px, with weights that know something."""
    photos = tmp_path / "food4"
    for folder in sorted((shared / "data/food10/images").iterdir())[:4]:
        (photos / folder.name).mkdir(parents=True)
        for path in sorted(folder.iterdir())[:120]:
            (photos / folder.name / path.name).symlink_to(path)
    weights = str(shared / "weights/resnet50_notop.weights.h5")
    settings = OriginSettings(weights=weights, size_px=64, epochs=2)
    said: list[str] = []
    results = show_origin(photos, tmp_path / "out", settings, said.append)
    val = {cell["role"]: cell["val"] for cell in results["cells"] if cell["role"]}
    assert val["origin"]["high"] < val["right"]["low"]
    assert results["differences"]["both"]["difference"]["high"] < 0
    assert results["differences"]["both"]["is_seen"]
    assert results["origin"]["base_is_unchanged"]
    assert results["origin"]["val"]["high"] < results["mended"]["val"]["low"]
    assert all(keras_line(Epoch(**each)) in said for each in results["origin"]["epochs"])
