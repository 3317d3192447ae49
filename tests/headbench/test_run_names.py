"""What a run is called, and which one is meant."""

from pathlib import Path

import pytest

from headbench.cache.errors import HeadbenchError
from headbench.run_names import name_of, new_run_path, remember, run_path, targets_of


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("data", ["photos", "photos/", "./photos", "../checkout/photos/."])
def test_a_run_is_named_after_its_folder(here: Path, data: str) -> None:
    (here / "photos").mkdir()
    assert name_of(data) == "photos"
    (here / "photos").rmdir()
    assert name_of("elsewhere/photos/") == "photos"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("my photos/the list.csv", "the list"),
        ("s3://bucket/lists/food.v2.parquet", "food.v2"),
        ("list.tsv", "list"),
        ("list.CSV", "list"),
        ("zip://photos::all.zip", "all"),
        ("zip://photos::s3://bucket/all.zip", "all"),
        ("zip://list.csv::all.zip", "all"),
        ("zip::my photos.zip", "my photos"),
        ("tar://photos::more/all.tar.gz", "all"),
        ("simplecache::s3://bucket/photos.v2", "photos.v2"),
        ("photos.csv.d", "photos.csv.d"),
    ],
)
def test_a_run_is_named_after_its_list_or_archive(data: str, name: str) -> None:
    assert name_of(data) == name


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("pets.tar", "pets"),
        ("my pets/{000..099}.tar", "my pets"),
        ("pets/{train,val}/{0..9}.tar", "pets"),
        ("pets/a.tar::more/b.tar", "pets"),
        ("s3://bucket/pets/{0..9}.tar::s3://bucket/more/{0..9}.tar", "pets"),
        ("simplecache::s3://bucket/pets/{0..9}.tar", "pets"),
        ("{0..9}.tar", "checkout"),
    ],
)
def test_a_run_is_named_after_the_folder_of_its_first_shards(data: str, name: str) -> None:
    assert name_of(data) == name


def test_a_folder_called_like_a_list_keeps_its_name(here: Path) -> None:
    (here / "photos.csv").mkdir()
    assert name_of("photos.csv") == "photos.csv"


def test_a_run_is_meant_by_its_name_its_folder_its_file_or_its_images(here: Path) -> None:
    run = here / "runs/photos"
    run.mkdir(parents=True)
    (run / "features.h5").touch()
    named = Path("runs/photos")
    assert run_path("photos") == run_path("runs/photos") == run_path("my/photos/") == named
    assert run_path("runs/photos/features.h5") == named / "features.h5"
    assert run_path("new") == Path("runs/new")
    assert run_path("elsewhere/new") == Path("elsewhere/new")


def test_the_last_run_goes_on_without_being_named(here: Path) -> None:
    with pytest.raises(HeadbenchError, match="Name a run, such as 'headbench heads photos'"):
        run_path(None)
    remember(here / "elsewhere/new")
    assert not (here / "runs").exists()
    remember(new_run_path("food"))
    assert run_path(None) == run_path("") == Path("runs/food")
    assert new_run_path("a/food") == Path("a/food")
    assert new_run_path("food.h5") == Path("food.h5")


def test_the_doctor_looks_at_what_is_there_and_then_at_the_run_of_that_name(here: Path) -> None:
    (here / "runs/photos").mkdir(parents=True)
    remember(Path("runs/photos"))
    assert targets_of([]) == targets_of(["photos"]) == [Path("runs/photos")]
    (here / "photos").mkdir()
    assert targets_of(["photos", "nowhere", "s3://a/b"]) == ["photos", "nowhere", "s3://a/b"]
