from dataclasses import replace
from pathlib import Path

import pytest

from headbench.cache.errors import FeatureFileError, HeadbenchError
from headbench.cache.reader import FeatureFile
from headbench.cache.verify import inspect_file
from headbench.extract.settings import ExtractSettings
from headbench.extract.sources.manifest import TO_FILL_IN
from headbench.extract.stage import extract_features
from tests.conftest import listen, write_image
from tests.extract.sources.manifests import listed, write_csv


@pytest.fixture
def anything(tmp_path: Path) -> Path:
    """Images at any depth, and what is no image."""
    folder = tmp_path / "anything"
    for number, name in enumerate(["a.png", "train/b.png", "deep/er/c.png"]):
        write_image(folder / name, number)
    (folder / "notes.txt").write_text("no image", "utf-8")
    (folder / "deep/broken.png").write_bytes(b"\x89PNG")
    return folder


@pytest.fixture
def unlabelled(settings: ExtractSettings) -> ExtractSettings:
    return replace(settings, unlabelled=True)


def test_a_folder_of_any_structure_is_embedded_without_labels(
    anything: Path, tmp_path: Path, unlabelled: ExtractSettings, embedded: list[int]
) -> None:
    out = tmp_path / "features.h5"
    table = extract_features(anything, out, unlabelled)
    assert table.paths == ("a.png", "deep/er/c.png", "train/b.png")
    assert (table.classes, table.labels.tolist(), table.splits.tolist()) == ((), [-1] * 3, [3] * 3)
    assert [each.path for each in table.rejected] == ["deep/broken.png", "notes.txt"]
    assert inspect_file(out).damage == ()
    with FeatureFile(out) as features:
        assert features.load("unlabelled")[0].shape == (3, 3)
    extract_features(anything, out, unlabelled)
    assert sum(embedded) == 3


def test_a_list_needs_no_labels_and_those_it_has_are_not_read(
    anything: Path, tmp_path: Path, unlabelled: ExtractSettings
) -> None:
    plain = write_csv(anything / "plain.csv", "path", "a.png", "train/b.png")
    more = write_csv(anything / "more.csv", "path,label,split", "a.png,,", "train/b.png,x,test")
    lines = listen()
    for path in (plain, more):
        table = extract_features(path, tmp_path / f"{path.stem}.h5", unlabelled)
        assert (table.paths, table.classes) == (("a.png", "train/b.png"), ())
    assert f"note: {more}: columns not used: label, split" in lines


def test_labels_are_not_lost_by_the_option(
    photos: Path, tmp_path: Path, settings: ExtractSettings, unlabelled: ExtractSettings
) -> None:
    out = tmp_path / "features.h5"
    extract_features(photos, out, settings)
    with pytest.raises(FeatureFileError, match="3 classes -> no labels"):
        extract_features(photos, out, unlabelled)
    extract_features(photos, out, replace(unlabelled, overwrite=True))
    # And back: what was embedded is labelled, and not embedded again.
    assert extract_features(photos, out, settings).classes == ("blue", "green", "red")


def test_shards_and_a_folder_without_images_are_refused(
    tmp_path: Path, unlabelled: ExtractSettings
) -> None:
    with pytest.raises(HeadbenchError, match="takes a folder or a list, found tar shards"):
        extract_features(str(tmp_path / "{0..1}.tar"), tmp_path / "features.h5", unlabelled)
    (tmp_path / "empty").mkdir()
    with pytest.raises(HeadbenchError, match="expected files that end in"):
        extract_features(tmp_path / "empty", tmp_path / "features.h5", unlabelled)


def test_a_list_without_labels_names_the_option(anything: Path) -> None:
    with pytest.raises(HeadbenchError, match=r"no column label.*--unlabelled"):
        listed(write_csv(anything / "list.csv", "path", "a.png"))


def test_rows_without_a_label_in_a_list_to_fill_in_are_listed_as_rejected(anything: Path) -> None:
    rows = ("path,label,guess", "a.png,cat,dog", "train/b.png,,dog", "deep/er/c.png,dog,dog")
    found = listed(write_csv(anything / "list.csv", *rows))
    assert [(each.path, each.class_name) for each in found.images] == [
        ("a.png", "cat"),
        ("deep/er/c.png", "dog"),
    ]
    assert found.rejected == (("train/b.png", TO_FILL_IN, b""),)
    assert any("1 of 3 rows: no label yet" in note for note in found.notes)
    with pytest.raises(HeadbenchError, match="found 1 rows without a label"):
        listed(write_csv(anything / "none.csv", "path,label,guess", "a.png,,dog"))
    # In any other list it is a mistake.
    with pytest.raises(HeadbenchError, match="line 2: label is empty"):
        listed(write_csv(anything / "other.csv", "path,label", "a.png,"))
