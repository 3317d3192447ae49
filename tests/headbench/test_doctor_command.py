"""``headbench doctor`` as a user types it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from headbench.classify.run import Run
from headbench.classify.train_heads import train_heads
from headbench.extract.networks.keras_runtime import load_keras
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.headbench.command import call


@pytest.fixture
def doctor(tmp_path: Path) -> Callable[..., int]:
    def examine(*arguments: object) -> int:
        return call("doctor", *arguments, "--out", tmp_path / "out")

    return examine


def test_what_is_sound_ends_with_0(
    doctor: Callable[..., int], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor(photos) == 0
    assert "90 image files in 3 classes" in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "out/index.html").exists()


def test_what_is_severe_ends_with_1_and_names_files_in_json(
    doctor: Callable[..., int], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (photos / "red").iterdir():
        shutil.copy(path, photos / "blue" / f"again-{path.name}")
    assert doctor(photos, "--format", "json") == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "out/findings.json").read_text("utf-8"))
    [finding] = [each for each in printed["findings"] if each["severity"] == "severe"]
    assert finding["code"] == "one-image-two-labels"
    assert str(photos / "red/000.png") in {each["path"] for each in finding["photos"]}


def test_a_run_is_examined_with_its_images(
    doctor: Callable[..., int], run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    doctor(run.folder)
    examined = [line for line in capsys.readouterr().out.splitlines() if "Examined:" in line]
    assert len(examined) == 3


def test_a_run_of_no_folder_is_examined_without_its_images(
    doctor: Callable[..., int],
    photos: Path,
    settings: ExtractSettings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [f"{path},{path.parent.name}" for path in sorted(photos.glob("*/*.png"))]
    listed = photos.parent / "list.csv"
    listed.write_text("\n".join(["path,label", *rows]))
    run = Run(photos.parent / "runs/list")
    extract_features(listed, run.features_path, settings)
    train_heads(run, ["centroid"], seed=0)
    assert doctor(run.folder, "--format", "json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert "90 images" in printed["examined"][0]
    assert "centroid" in printed["examined"][1]
    [note] = [each for each in printed["findings"] if each["code"] == "not-checked"]
    assert note["what"] == "Not checked: the images."
    assert f"was made from {listed} (manifest); the doctor examines" in note["evidence"][0]


def test_a_model_is_examined_though_its_folder_cannot_be_used(
    doctor: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keras = load_keras()
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    model = keras.Sequential(layers)
    model.compile("adam", "categorical_crossentropy")
    model.save(tmp_path / "model.keras")
    (tmp_path / "empty").mkdir()
    assert doctor(tmp_path / "model.keras", tmp_path / "empty", "--format", "json") == 1
    found = json.loads(capsys.readouterr().out)["findings"]
    severe = {each["code"] for each in found if each["severity"] == "severe"}
    assert severe == {"no-data-set", "softmax-missing"}
    [note] = [each for each in found if each["what"] == "Not checked: accuracy."]
    assert str(tmp_path / "empty") in note["evidence"][0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "found nothing"),
        (["s3://bucket/photos"], "s3://bucket/photos: expected a folder of images, a run, or"),
        (["zip://photos::all.zip"], "not a URL. Name only the run that was made from it"),
        (["list.csv"], "not a list of images"),
        (["shards/{0..9}.tar"], "not tar shards"),
        (["PHOTOS", "PHOTOS"], "one data at most"),
        (["PHOTOS", "--script-settings", "size=x"], "expected pixels"),
        (["PHOTOS", "--script-settings", "class_indices=nowhere.json"], "cannot be read"),
        (["MODEL"], "cannot be loaded"),
        (["TEXT"], "(.keras, .h5). A model in .h5 is HDF5 with layers and weights"),
    ],
)
def test_bad_input_ends_with_2_and_one_line(
    doctor: Callable[..., int],
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    model = tmp_path / "model.keras"
    model.write_bytes(b"PK")
    text = tmp_path / "model.h5"
    text.write_text("text")
    places = {"PHOTOS": str(photos), "MODEL": str(model), "TEXT": str(text)}
    assert doctor(*(places.get(each, each) for each in arguments)) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert said in error
    assert "Traceback" not in error
    assert "headbench features" not in error
