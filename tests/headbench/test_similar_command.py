import json
from pathlib import Path

import pytest

import headbench as hb
from headbench.classify.run import Run
from tests.headbench.command import call


def test_from_images_to_json_and_a_page(
    run: Run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    images = ("--images", photos / "red", "--k", 2, "--format", "json", "--out", page)
    assert call("similar", run.folder, *images) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["similar"][0]["class"] for each in found] == ["red"] * 30
    assert page.read_text("utf-8").count("<img src=") == 90


def test_a_file_that_cannot_be_used_ends_with_1(
    run: Run, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("similar", run.folder, "--images", photos / "nowhere.png") == 1
    assert "nowhere.png  UNUSABLE: cannot be read" in capsys.readouterr().out


def test_rows_and_pairs_are_found_too(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("similar", run.folder, "--row", 0, "red/003.png", "--k", 1) == 0
    assert [line[:2] for line in capsys.readouterr().out.splitlines()] == ["bl", "  ", "re", "  "]
    assert call("similar", run.folder, "--pairs", "0.9999") == 0
    assert "with a similarity of 1.000 or more; 0 exact." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "one of the arguments --images --row --pairs is required"),
        (("--pairs", "2"), "expected a number above 0 and up to 1, found '2'"),
        (("--row", "0", "--k", "0"), "expected a whole number from 1 on"),
        (("--row", "nothing"), "expected a row from 0 to 89 or the path of an image"),
        (("--images", ""), "found an empty name"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    run: Run, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], says: str
) -> None:
    assert call("similar", run.folder, *options) == 2
    assert says in capsys.readouterr().err


def test_in_a_notebook_it_is_a_table(run: Run, photos: Path) -> None:
    found = hb.Run(run.folder).similar(photos / "red/000.png", k=3)
    assert len(found) == 1
    assert found.to_pandas()["similar image"].tolist()[0] == "red/000.png"
    assert "<table>" in found._repr_html_()
