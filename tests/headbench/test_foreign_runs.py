"""Runs that were made elsewhere: URLs in them are not opened, and their names are escaped."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest

from headbench import terminal
from headbench.classify.deployment.classifier import open_classifier
from headbench.classify.deployment.prediction_formats import FORMATS
from headbench.classify.deployment.server.process import open_engine
from headbench.classify.labelled_files import images_of, why_absent
from headbench.classify.report.write import PAGE
from headbench.classify.run import Run
from headbench.classify.train_heads import train_heads
from headbench.extract.errors import DataError
from headbench.extract.settings import ExtractSettings, Runtime
from headbench.extract.sources.manifest import ALLOWED
from headbench.extract.stage import extract_features
from tests.cache.test_reader import seal_attributes
from tests.conftest import write_class_folders, write_image
from tests.extract.sources.manifests import write_csv
from tests.extract.sources.test_manifest import rows_of
from tests.extract.sources.web_server import Files, web_server
from tests.headbench.command import call

N_IMAGES = 36


class Anything(Files):
    """Counts connections: whatever is asked, and whatever is not."""

    def handle(self) -> None:
        self.read.append("a connection")
        super().handle()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_class_folders(tmp_path / "photos", N_IMAGES // 3)


@pytest.fixture
def url(photos: Path) -> Iterator[str]:
    """A stranger's web server."""
    with web_server(photos, Anything) as url:
        yield url


def forge(features: Path, folder: str, layout: str) -> None:
    """Let a feature file say that its images lie elsewhere, with matching checksums."""
    with h5py.File(features, "a") as file:
        config = json.loads(file.attrs["config"])
        config["data"] |= {"folder": folder, "layout": layout}
        text = np.bytes_(json.dumps(config))
        file.attrs["config"] = text
        seal_attributes(file)


@pytest.fixture
def foreign(photos: Path, url: str, settings: ExtractSettings, tmp_path: Path) -> Run:
    """A run made of a list of URLs, with a head; the list lies beside it."""
    run = Run(tmp_path / "foreign")
    run.folder.mkdir()
    lines = [f"{url}/{path},{label}" for path, label in rows_of(photos)]
    listed = write_csv(run.folder / "list.csv", "path,label", *lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ALLOWED, "http")
        extract_features(listed, run.features_path, settings)
    train_heads(run, ["ridge"], 0)
    assert Files.read
    Files.read.clear()
    return run


FORGED = [
    ("{run}/list.csv", "manifest"),
    ("{url}", "class folders"),
    ("{url}/list.csv", "manifest"),
    ("{url}/{{0..3}}.tar", "shards"),
    ("zip://photos::{url}/all.zip", "class folders"),
    ("reference::{url}/refs.json", "class folders"),
    ("zip://a::reference::{url}/refs.json", "split folders"),
    ("simplecache::{url}/list.csv", "manifest"),
]


def commands(run: Run, photos: Path) -> dict[str, Callable[[], int]]:
    """Those that look at images, without --data."""

    def serve() -> int:
        open_engine(run, open_classifier(run, None, None), None, 4, Runtime())
        return 0

    picture, folder = str(photos / "red/000.png"), str(run.folder)
    return {
        "report": lambda: call("report", folder),
        "predict": lambda: call("predict", folder, "--images", picture),
        "doctor": lambda: call("doctor", folder, "--out", f"{folder}/doctor"),
        "rerun": lambda: call("verify", folder, "--rerun", 64),
        "serve": serve,
    }


@pytest.mark.parametrize(("folder", "layout"), [FORGED[0], FORGED[2]])
def test_a_run_made_elsewhere_opens_no_url_and_no_list_by_itself(
    folder: str, layout: str, foreign: Run, url: str, photos: Path, capsys: pytest.CaptureFixture
) -> None:
    named = folder.format(url=url, run=foreign.folder)
    forge(foreign.features_path, named, layout)
    ended = {name: command() for name, command in commands(foreign, photos).items()}
    assert Files.read == []
    assert (ended["report"], ended["predict"], ended["serve"], ended["rerun"]) == (0, 0, 0, 2)
    assert ended["doctor"] in (0, 1)
    assert f"{named}: expected the images that the features" in capsys.readouterr().err
    page = (foreign.report_folder / PAGE).read_text()
    assert f"No photographs: {named}: expected the images that the features were made from" in page


def test_what_the_user_names_is_opened(
    foreign: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    arguments = [foreign.folder, "--rerun", 64, "--data", foreign.folder / "list.csv"]
    assert call("verify", *arguments) == terminal.BAD_INPUT
    assert f"{ALLOWED}=http" in capsys.readouterr().err
    assert Files.read == []
    monkeypatch.setenv(ALLOWED, "http")
    assert call("verify", *arguments) == 0
    assert len(Files.read) >= N_IMAGES


@pytest.mark.parametrize(("folder", "layout"), FORGED)
def test_what_a_feature_file_names_is_a_folder_of_this_machine(
    folder: str, layout: str, url: str, tmp_path: Path
) -> None:
    write_csv(tmp_path / "list.csv", "path,label", f"{url}/red/000.png,red")
    data = {"folder": folder.format(url=url, run=tmp_path), "layout": layout}
    features: Any = SimpleNamespace(config=SimpleNamespace(data=data), path=tmp_path / "f.h5")
    images = images_of(features, None)
    assert not images.is_there
    with pytest.raises(DataError, match="is not opened"):
        images.file(f"{url}/red/000.png")
    assert images.stamps(["red/000.png"]).tolist() == [[-1] * 4]
    assert why_absent(images).startswith(
        f"{data['folder']}: expected the images that the features were made from"
    )
    assert Files.read == []


@pytest.mark.parametrize("command", ["finetune", "export"])
@pytest.mark.long
def test_a_network_made_elsewhere_opens_no_url_by_itself(
    command: str, network_run: Run, url: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = Run(Path(shutil.copytree(network_run.folder, tmp_path / "run")))
    forge(run.features_path, url, "class folders")
    options = ["--unfreeze", "half"] if command == "finetune" else ["--formats", "keras"]
    call(command, run.folder, *options)
    assert Files.read == []
    assert url in "".join(capsys.readouterr())


OBEYED = "\x1b]0;owned\x07\x9b2J\u202e"


def test_names_that_a_terminal_obeys_are_shown_by_every_command(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = Run(tmp_path / "run")
    (photos / "red").rename(photos / f"red{OBEYED}")
    write_image(photos / f"red{OBEYED}/{OBEYED}.png", 999, (210, 30, 30))
    (photos / f"red{OBEYED}/bad{OBEYED}.png").write_bytes(b"no image")
    out, folder = str(run.features_path), str(run.folder)
    sizes = ["--size", "16"]
    assert call("features", photos, "--name", out, "--backbone", "mean-color", *sizes) == 0
    for line in (
        ["heads", folder, "--heads", "ridge", "logreg"],
        ["report", folder],
        *(["predict", folder, "--images", str(photos), "--format", each] for each in FORMATS),
        ["doctor", folder, str(photos), "--out", str(tmp_path / "doctor")],
        ["doctor", folder, str(photos), "--out", str(tmp_path / "doctor"), "--format", "json"],
        ["report", f"{folder}{OBEYED}"],
    ):
        assert call(*line) in (0, 1, 2)
    call("verify", out, "--rerun", 64)
    said = "".join(capsys.readouterr())
    assert "red\\u001b]0;owned\\u0007\\u009b2J\\u202e" in said
    assert not {*"\x1b\x07\x9b\u202e"} & {*said}
