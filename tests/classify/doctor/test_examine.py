from dataclasses import replace
from pathlib import Path

import h5py
import pytest

from headbench.cache.reader import FeatureFile
from headbench.cache.writer import Location, write_features
from headbench.classify.doctor.examine import sort_targets
from headbench.classify.errors import RunError
from headbench.classify.run import Run


def test_each_kind_is_told_from_the_others(run: Run, photos: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.keras"
    model.write_bytes(b"")
    found = sort_targets([model, run.folder, photos])
    assert found.model == model
    assert found.data == photos
    assert found.run
    assert found.run.features_path == run.features_path


def test_a_run_brings_its_images(run: Run, photos: Path) -> None:
    assert sort_targets([run.folder]).data == photos
    assert sort_targets([run.features_path]).data == photos


def test_a_run_of_what_is_no_folder_of_files_brings_none(run: Run, photos: Path) -> None:
    for name in ("dataset_info.json", "state.json"):  # as Hugging Face's datasets write them
        (photos / name).write_text("{}")
    assert sort_targets([run.folder]).data is None
    with pytest.raises(RunError, match="not a data set saved by Hugging Face's"):
        sort_targets([photos])


def made_from(run: Run, folder: str, layout: str | None) -> Run:
    """The run, as if its images came from there."""
    with FeatureFile(run.features_path) as features:
        table, dim = features.table, features.dim
    rows = {
        content: Location(run.features_path, row) for row, content in enumerate(table.contents())
    }
    data = {"folder": folder} | ({"layout": layout} if layout else {})
    other = replace(table, config=replace(table.config, data=data))
    made = Run(run.folder.parent / "other")
    made.folder.mkdir()
    write_features(made.features_path, other, rows, dim)
    return made


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("PHOTOS", "Hugging Face data set"),
        ("list.csv", "manifest"),
        ("s3://bucket/photos", "class folders"),
        ("shards/{0..9}.tar", "shards"),
        ("images from Python", "Python"),
    ],
)
def test_images_that_are_no_files_in_a_folder_are_said_to_lie_elsewhere(
    run: Run, photos: Path, name: str, layout: str
) -> None:
    place = name.replace("PHOTOS", str(photos))
    found = sort_targets([made_from(run, place, layout).folder])
    assert found.data is None
    assert found.elsewhere == f"{place} ({layout})"


@pytest.mark.parametrize("layout", ["class folders", None])
def test_a_folder_that_is_gone_lies_nowhere_else(run: Run, layout: str | None) -> None:
    found = sort_targets([made_from(run, "gone", layout).folder])
    assert (found.data, found.elsewhere) == (None, "")


def test_hdf5_of_keras_is_a_model(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = "{}"
    assert sort_targets([path]).model == path


@pytest.mark.parametrize("name", ["nothing", "a.txt", "a.h5"])
def test_what_is_none_of_them_is_refused(tmp_path: Path, name: str) -> None:
    if name != "nothing":
        (tmp_path / name).write_text("text")
    with pytest.raises(RunError, match="expected a folder of images"):
        sort_targets([tmp_path / name])


def test_two_of_a_kind_are_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="one data at most"):
        sort_targets([photos, tmp_path])
