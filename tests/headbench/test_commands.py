"""The commands as a user types them: what they print, and how they end."""

import csv
import io
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.run import Run
from headbench.extract.networks.keras_network import KerasBackbone
from tests.conftest import ROOT, write_class_folders, write_image
from tests.headbench.command import call
from tests.small_network import SIZE_PX, SMALL


def extract_colors(photos: Path, out: Path, *more: object) -> int:
    return call("features", photos, "--name", out, "--backbone", "mean-color", "--size", 16, *more)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "runs/colors/features.h5"


def test_from_a_folder_to_predictions(
    photos: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert extract_colors(photos, out) == 0
    assert "; 90 new: 90 extracted" in capsys.readouterr().out
    assert call("heads", out, "--heads", "logreg,lightgbm") == 0
    assert "logreg     val accuracy" in capsys.readouterr().out
    assert call("report", out.parent) == 0
    table = capsys.readouterr().out
    assert "test accuracy" in table
    assert "mean-color" in (out.parent / "report/results.md").read_text("utf-8")
    assert {path.name for path in (out.parent / "report").iterdir()} == {
        "results.json",
        "results.md",
        "index.html",
    }
    assert call("predict", out, "--images", photos / "red", "--format", "json") == 0
    predictions = json.loads(capsys.readouterr().out)
    assert len(predictions) == 30
    assert all(each["predictions"][0]["class"] == "red" for each in predictions)


def test_predict_ends_with_1_when_a_file_is_unusable(
    run: Run, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call("heads", run.folder, "--heads", "logreg")
    bad = photos / "bad.jpg"
    bad.write_bytes(b"")
    capsys.readouterr()
    arguments = ("predict", run.folder, "--images", photos / "red/000.png", bad, "--format", "csv")
    assert call(*arguments) == 1
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["error"] for row in rows] == ["", "empty file"]


@pytest.fixture
def trained(run: Run, capsys: pytest.CaptureFixture[str]) -> Run:
    """With a head, and nothing left in the output."""
    call("heads", run.folder, "--heads", "logreg")
    capsys.readouterr()
    return run


def test_predictions_of_labelled_folders_are_measured(
    trained: Run, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "red/000.png").rename(photos / "red/bad.png")
    (photos / "red/bad.png").write_bytes(b"")
    write_image(photos / "mauve/1.png", seed=999)
    write_image(photos / "blue/new.png", seed=998, color=(20, 40, 220))
    assert call("predict", trained.folder, "--images", photos, "--format", "csv") == 1
    out, said = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == 92
    assert {row["true"] for row in rows} == {"red", "green", "blue", "mauve"}
    assert f"{photos}: true classes are taken from the names of its folders" in said
    assert "1 folder names no class of the model: mauve" in said
    assert "1 of 92 files cannot be used" in said
    assert "all labelled files: top-1 98.9 %" in said
    assert "1 file of classes that the model does not know (mauve)" in said
    with FeatureFile(trained.features_path) as features:
        n_seen = len(features.rows("train")) + len(features.rows("val"))
        splits = dict(zip(features.table.paths, features.table.splits, strict=True))
    gone = splits["red/000.png"] < 2
    seen = re.search(r"by content: (\d+) in train, (\d+) in val", said)
    assert seen
    assert sum(map(int, seen.groups())) == n_seen - gone
    n_test = sum(split == 2 for split in splits.values()) - (splits["red/000.png"] == 2)
    assert f"{n_test} images of test measured. This is the first look at test" in said


def test_reports_and_measured_predictions_of_test_are_looks_at_it(
    trained: Run, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("predict", trained.folder, "--images", photos / "red/000.png") == 0
    assert "look" not in capsys.readouterr().err  # its class is unknown: nothing was measured
    for _ in range(2):
        assert call("report", trained.folder) == 0
    assert "looked at" not in capsys.readouterr().out
    call("heads", trained.folder, "--heads", "ridge")
    assert call("report", trained.folder) == 0
    assert "Test has been looked at 3 times in this run, with 2 different" in " ".join(
        capsys.readouterr().out.split()
    )
    assert call("predict", trained.folder, "--images", photos, "--head", "ridge") == 0
    said = capsys.readouterr().err
    assert "Test has been looked at 4 times in this run, with 2 different sets of heads." in said
    results = json.loads((trained.report_folder / "results.json").read_text("utf-8"))
    assert results["looks_at_test"] == {"n_looks": 3, "n_sets": 2}


def test_images_of_no_class_are_counted_and_sets_shown(
    trained: Run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "yellow.png", seed=1, color=(220, 200, 20))
    images = ("--images", tmp_path / "yellow.png", photos / "red/000.png", "--format", "jsonl")
    doubts = ("--false-alarms", 0.1, "--coverage", 0.9)
    assert call("predict", trained.folder, *images, *doubts) == 0
    out, said = capsys.readouterr()
    yellow, red = map(json.loads, out.splitlines())
    assert yellow["out_of_distribution"]
    assert (red["out_of_distribution"], red["set"]) == (False, ["red"])
    assert "1 of 2 images looks like none of the classes (out of distribution)" in said
    assert "hold the true class with 90 %, calibrated on 16 images of val" in said


@pytest.mark.parametrize("option", ["--coverage", "--false-alarms"])
@pytest.mark.parametrize("verb", ["predict", "serve"])
def test_a_doubt_that_is_no_probability_ends_with_2(run: Run, verb: str, option: str) -> None:
    images = ("--images", "x") if verb == "predict" else ()
    assert call(verb, run.folder, *images, option, "1.5") == 2
    assert call(verb, run.folder, *images, "--coverage", "0") == 2


def test_abstentions_are_counted_and_their_candidates_shown(
    trained: Run, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--images", photos / "red/000.png", "--min-confidence", "1", "--format", "jsonl")
    assert call("predict", trained.folder, *arguments) == 0
    out, said = capsys.readouterr()
    answer = json.loads(out)
    assert (answer["label"], answer["abstained"]) == (None, True)
    assert answer["predictions"][0]["class"] == "red"
    assert "abstained: 1 of 1" in said


def test_a_list_on_standard_input_is_predicted_and_head_ends_it_quietly(
    trained: Run, photos: Path
) -> None:
    predict = [
        sys.executable,
        "-m",
        "headbench",
        "predict",
        trained.folder,
        "--images",
        "-",
    ]
    command = shlex.join(map(str, [*predict, "--null", "--format", "csv"]))
    script = f"find {shlex.quote(str(photos))} -name '*.png' -print0 | {command}"
    options = {"shell": True, "cwd": ROOT, "capture_output": True, "text": True, "check": False}
    done = subprocess.run(script, **options)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 91
    cut = subprocess.run(f"{script} --top 1 | head -n 2", **options)
    assert len(cut.stdout.splitlines()) == 2
    assert "error" not in cut.stderr.lower()
    assert "Traceback" not in cut.stderr


@pytest.mark.parametrize("value", ["-0.1", "1.1", "sure", "nan"])
def test_a_confidence_that_is_no_share_ends_with_2(run: Run, value: str) -> None:
    assert call("predict", run.folder, "--images", "x", "--min-confidence", value) == 2


@pytest.mark.parametrize("value", ["-1", "101", "nan", "much"])
def test_a_loss_that_is_no_number_of_points_ends_with_2(run: Run, value: str) -> None:
    assert call("export", run.folder, "--max-loss", value) == 2


def test_predictions_and_embeddings_become_parquet(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    network = ("--backbone", "mean-color", "--size", 16)
    assert call("features", photos, "--name", "colors", *network, "--parquet", "x.parquet") == 0
    assert call("heads", "colors", "--heads", "ridge") == 0
    images = ("--images", photos / "red", "--top", 1)
    assert call("predict", "colors", *images, "--parquet", "y.parquet") == 0
    embeddings, predictions = map(pd.read_parquet, ("x.parquet", "y.parquet"))
    assert len(embeddings) == 90
    assert set(predictions["label"]) == set(predictions["true"]) == {"red"}
    sums = np.stack(predictions["probabilities"]).sum(axis=1)
    np.testing.assert_allclose(sums, 1, atol=1e-5)
    assert set(predictions["seen_in"]) == {"train", "val", "test"}


def nowhere(folder: Path) -> Path:
    return folder / "nowhere"


def empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def one_class(folder: Path) -> Path:
    write_image(folder / "one/only/1.png", seed=1)
    return folder / "one"


def rare_class(folder: Path) -> Path:
    write_class_folders(folder / "rare")
    write_image(folder / "rare/few/1.png", seed=1)
    return folder / "rare"


@pytest.mark.parametrize(
    ("make", "phrase"),
    [
        (nowhere, "expected a folder of images, found nothing"),
        (empty, "found no files"),
        (one_class, "found only one class, 'only'"),
        (rare_class, "class 'few' has too few images to split"),
    ],
)
def test_bad_folders_end_with_2_and_one_line(
    tmp_path: Path,
    out: Path,
    make: Callable[[Path], Path],
    phrase: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert extract_colors(make(tmp_path), out) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert phrase in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_nothing_is_fetched_for_a_folder_that_is_not_there(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(KerasBackbone, "_fetch", lambda _: pytest.fail("fetched"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    assert call("features", tmp_path / "nowhere", "--name", out) == 2
    assert "found nothing" in capsys.readouterr().err


def test_weights_that_cannot_be_fetched_end_with_2_and_name_the_way_out(
    photos: Path,
    out: Path,
    tmp_path: Path,
    command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    # A proxy where nobody listens stands for a machine without a network.
    done = command(
        *("headbench", "features", photos, "--name", out, "--size", 32),
        KERAS_HOME=str(tmp_path / "keras"),
        HTTPS_PROXY="http://127.0.0.1:9",
        https_proxy="http://127.0.0.1:9",
    )
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ImageNet weights cannot be downloaded")
    assert "notop.h5 on another machine" in last
    assert "--weights PATH" in last
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_weights_of_another_network_end_with_2(
    photos: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = [[1.0, 2.0]]
    assert call("features", photos, "--name", out, "--size", 32, "--weights", path) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"error: {path}: not weights of ResNet50" in error


@pytest.mark.parametrize("command", ["heads", "report", "finetune", "predict", "serve"])
@pytest.mark.parametrize("content", [None, b"hello", "newer", "foreign"])
def test_bad_feature_files_end_with_2_in_every_command(
    run: Run, command: str, content: object, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run.features_path
    if content is None:
        path.unlink()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with h5py.File(path, "a") as file:
            if content == "newer":
                file.attrs["format_version"] = 99
            else:
                del file.attrs["format"]
    options = {"predict": ("--images", "x.jpg"), "serve": ("--port", "0")}
    more = options.get(command, ())
    assert call(command, path, *more) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path}: ")
    assert error.count("\n") == 1


def test_an_unknown_head_ends_with_2_and_lists_the_known_ones(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("heads", run.folder, "--heads", "svm") == 2
    assert (
        "expected one of prior, centroid, knn, ridge, logreg, lightgbm, mlp, mlp-128, vote"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "arguments",
    [("--size", "big"), ("--size", "-1"), ("--seed", "-1"), ("--batch-size", "0"), ("--colour",)],
)
def test_bad_options_end_with_2(photos: Path, out: Path, arguments: tuple[str, ...]) -> None:
    assert extract_colors(photos, out, *arguments) == 2


def test_random_weights_are_said_aloud(
    random_run: Run, network_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = ("--backbone", SMALL, "--size", SIZE_PX, "--weights", "random")
    arguments = (network_photos, "--name", random_run.features_path, *network)
    assert call("features", *arguments) == 0
    assert capsys.readouterr().out.startswith("RANDOM WEIGHTS")


def test_settings_studies_and_reuse_from_the_command_line(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "heads.toml"
    config.write_text('heads = ["ridge", "logreg"]\n[ridge]\nalphas = [0.1, 1.0]\n')
    arguments = ("heads", run.folder, "--config", config, "--curve", "--folds", "3")
    assert call(*arguments, "--c-grid", "0.01", "0.1") == 0
    out = capsys.readouterr().out
    assert "learning curve: 14 fits, 0 reused" in out
    assert "folds: 6 fits, 0 reused" in out
    assert call(*arguments, "--c-grid", "0.01", "0.1") == 0
    assert "learning curve: 0 fits, 14 reused" in capsys.readouterr().out
    assert call("report", run.folder) == 0
    out = capsys.readouterr().out
    assert "ridge" in out
    text = (run.folder / "report/results.md").read_text("utf-8")
    assert "| head | 1 % | 2 % |" in text
    assert "accuracy over 3 folds" in text
    page = (run.folder / "report/index.html").read_text("utf-8")
    for heading in ("Would more photographs help?", "Cross-validation"):
        assert f"<h3>{heading}</h3>" in page


def test_a_report_of_a_named_head_and_a_moved_folder(
    run: Run, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("heads", run.folder, "--heads", "prior", "logreg") == 0
    moved = photos.rename(photos.with_name("moved"))
    report = ("report", run.folder, "--head", "prior", "--data", moved)
    assert call(*report) == 0
    assert "What next" in capsys.readouterr().out
    page = (run.folder / "report/index.html").read_text("utf-8")
    assert "Mistakes of prior on the test images." in page
    assert "data:image/webp" in page
    results = json.loads((run.folder / "report/results.json").read_text("utf-8"))
    assert results["commands"][-1] == shlex.join(["headbench", *map(str, report)])
    assert f"heads {run.folder} --heads prior logreg" in results["commands"][1]
    assert call(*report, "--brief") == 0
    said = capsys.readouterr().out
    assert said.startswith("Use ")
    assert "What next:" not in said
    assert call("report", run.folder, "--head", "knn") == 2
    assert "'knn' is not trained here" in capsys.readouterr().err


def test_a_report_is_opened_in_the_browser(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    arguments = ["open", str(run.folder)]
    assert call(*arguments) == 2
    assert "no report yet. Run 'headbench report' first." in capsys.readouterr().err
    page = run.folder / "report/index.html"
    page.parent.mkdir()
    page.touch()
    assert call(*arguments) == 0
    assert opened == [page.as_uri()]
    monkeypatch.setattr("webbrowser.open", lambda _: False)
    assert call(*arguments) == 2
    assert "no browser could be started here" in capsys.readouterr().err


def test_runs_are_compared_in_text_and_as_a_page(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("heads", run.folder, "--heads", "prior", "centroid") == 0
    capsys.readouterr()
    assert call("compare", run.folder, run.folder) == 0
    out = capsys.readouterr().out
    assert "No significant difference between A and B for" in out
    assert (run.folder / "report/versus-colors.html").is_file()
    assert call("compare", run.folder, run.folder, run.folder) == 0
    assert "does not differ significantly from B and C" in capsys.readouterr().out
    assert call("compare", run.folder) == 2
    assert "expected 2 to 26 runs" in capsys.readouterr().err
    assert call("compare", run.folder, "nowhere") == 2
    assert "nowhere/features.h5: no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "phrase"),
    [
        (("--c-grid", "1", "0.1"), "cs: expected numbers above 0, ascending"),
        (("--c-grid", "nan"), "cs: expected numbers above 0"),
        (
            ("--heads", "ridge", "--max-rounds", "5"),
            "max_rounds: expected a head that has this setting, found ridge",
        ),
        (("--config", "nowhere.toml"), "nowhere.toml: cannot be read"),
    ],
)
def test_bad_settings_of_heads_end_with_2_and_one_line(
    run: Run, more: tuple[str, ...], phrase: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("heads", run.folder, *more) == 2
    error = capsys.readouterr().err
    assert phrase in error
    assert error.count("\n") == 1
