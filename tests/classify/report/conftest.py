"""Runs with names that try to be markup, and their reports."""

import shutil
from pathlib import Path

import pytest

from headbench.classify.report.results import Results
from headbench.classify.report.write import write_report
from headbench.classify.run import Run
from headbench.classify.train_heads import train_heads
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.conftest import write_image

# As folders may be called: a slash cannot be in a name.
HOSTILE = (
    "<script>alert(1)<",
    '"><img src=x onerror=alert(2)>',
    "a|b*c_d`e $x^2$",
    "寿司 🍣",
    "{{ 7 * 7 }}",
    "plain_name",
)
COLORS = [
    (210, 30, 30), (30, 200, 40), (20, 40, 220), (220, 210, 40), (40, 210, 220), (125, 125, 125),
]  # fmt: skip
N_PER_CLASS = 30
HOSTILE_FILE = "<b onclick=alert(3)>bad<b>.png"
# In the folder of the last class; with that file, all that cannot be used.
TEXT_FILE = "notes & <words>.png"


def make_hostile_run(folder: Path) -> Run:
    """Six classes, two of them alike, a copy under another label, two files that are no images."""
    photos = folder / "photos"
    for number, (name, color) in enumerate(zip(HOSTILE, COLORS, strict=True)):
        for image in range(N_PER_CLASS):
            # Every fifth of the last class looks like the first: mistakes to look at.
            shade = COLORS[0] if number == len(COLORS) - 1 and image % 5 == 0 else color
            write_image(photos / name / f"{image}.png", 100 * number + image, shade)
    copied = (photos / HOSTILE[0] / "1.png").read_bytes()
    (photos / HOSTILE[1] / "copy.png").write_bytes(copied)
    (photos / HOSTILE[0] / HOSTILE_FILE).write_bytes(b"")
    (photos / HOSTILE[-1] / TEXT_FILE).write_bytes(b"some words")
    run = Run(folder / "runs/<i>run<i>")
    settings = ExtractSettings(backbone="mean-color", size_px=16, batch_size=8)
    extract_features(photos, run.features_path, settings)
    train_heads(run, ["logreg", "centroid", "lightgbm"], seed=0)
    return run


@pytest.fixture
def own_run(hostile_run: Run, tmp_path: Path) -> Run:
    """A copy of `hostile_run`, for tests that write a report."""
    shutil.copytree(hostile_run.folder, tmp_path / "runs/<i>run<i>")
    return Run(tmp_path / "runs/<i>run<i>")


@pytest.fixture(scope="session")
def found(hostile_run: Run) -> Results:
    """The results of `hostile_run`, whose report is written."""
    return write_report(hostile_run, command="headbench report '<i>run<i>'")


@pytest.fixture(scope="session")
def results(found: Results) -> dict:
    """The same as JSON."""
    return found.to_json()


@pytest.fixture(scope="session")
def page_path(hostile_run: Run, found: Results) -> Path:
    """The report of `hostile_run`."""
    assert found
    return hostile_run.report_folder / "index.html"
