"""Images of a feature file, found again in the shards, lists and stores that they came from."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.errors import RunError
from headbench.classify.labelled_files import images_of, open_split, why_absent
from headbench.classify.report.photographs import Thumbnails
from headbench.extract.settings import ExtractSettings
from headbench.extract.sources import remote, urls
from headbench.extract.sources.manifest import Manifest
from headbench.extract.sources.python import LAYOUTS
from headbench.extract.sources.remote import RemoteFolder
from headbench.extract.stage import extract_features
from headbench.extract.tensors import extract_dataset
from tests.extract import conftest, test_shards
from tests.extract.sources import test_manifest, test_remote
from tests.extract.sources.test_remote import Extraction as FarExtraction
from tests.extract.test_shards import Extraction

N_IMAGES = 90
# Fixtures of the sources' own tests.
extract, embedded = test_shards.extract, conftest.embedded
mixed, memory = test_manifest.mixed, test_manifest.memory
in_store, store = test_remote.in_store, test_remote.store
whole_store, pauses = test_remote.whole_store, test_remote.pauses


def test_a_split_is_read_out_of_shards(extract: Extraction) -> None:
    extract()
    with FeatureFile(extract.out) as features:
        files = open_split(features, "val", images_of(features, extract.data))
    assert sum(len(batch.rows) for batch in files.batches(8)) == len(files.labels)


def test_pictures_of_a_report_come_out_of_the_shards(extract: Extraction) -> None:
    extract()
    with FeatureFile(extract.out) as features:
        pictures = Thumbnails(features, images_of(features, extract.data))
        assert set(pictures.make([0, 40, 80], 16)) == {0, 40, 80}
        assert pictures.note == ""
        (extract.folder / "000.tar").unlink()
        source = images_of(features, extract.data)
        with pytest.raises(RunError, match="found nothing"):
            open_split(features, "val", source)


def test_images_of_a_shard_that_has_changed_are_not_shown_for_others(
    extract: Extraction,
) -> None:
    extract()
    path = extract.folder / "000.tar"
    data = bytearray(path.read_bytes())
    data[1024 + 512 + 100] ^= 1
    path.write_bytes(data)
    with FeatureFile(extract.out) as features:
        pictures = Thumbnails(features, images_of(features, extract.data))
        assert len(pictures.make(range(N_IMAGES), 16)) == N_IMAGES - 1
    assert "its content changed after it was listed" in pictures.note


def test_later_there_are_no_images_to_look_at_and_it_is_said_why(
    photos: Path, settings: ExtractSettings, tmp_path: Path
) -> None:
    out = tmp_path / "f.h5"
    pairs = [(path, path.parent.name) for path in sorted(photos.rglob("*.png"))]
    extract_dataset(pairs, None, out, settings)
    why = r"the images came from Python \(images from Python\): headbench does not store them"
    with FeatureFile(out) as features:
        images = images_of(features, None)
        pictures = Thumbnails(features, images)
        assert pictures.make([0, 1], 16) == {}
        assert pictures.note.startswith("No photographs: the images came from Python")
        with pytest.raises(RunError, match=why):
            open_split(features, "val", images)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_older_feature_files_of_such_images_say_so_too(layout: str, tmp_path: Path) -> None:
    (tmp_path / "dataset_dict.json").touch()  # where Hugging Face's datasets saved one
    data = {"folder": str(tmp_path), "layout": layout}
    features: Any = SimpleNamespace(config=SimpleNamespace(data=data))
    assert f"came from Python ({tmp_path})" in why_absent(images_of(features, None))


def test_pictures_of_a_report_are_read_many_at_a_time(in_store: FarExtraction) -> None:
    in_store()
    in_store.store.layer.reset()
    in_store.store.layer.seconds = 0.05
    with FeatureFile(in_store.out) as features:
        pictures = Thumbnails(features, RemoteFolder(in_store.url))
        assert set(pictures.make(range(N_IMAGES), 8)) == set(range(N_IMAGES))
    assert in_store.store.layer.most_at_once > 8


def test_a_report_without_the_store_says_which_pictures_are_missing(
    in_store: FarExtraction, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_store()
    monkeypatch.setattr(urls, "MOST_UNANSWERED", 5)
    monkeypatch.setattr(remote, "read_remote", _unanswered)
    with FeatureFile(in_store.out) as features:
        pictures = Thumbnails(features, RemoteFolder(in_store.url))
        assert pictures.make(range(N_IMAGES), 8) == {}
        assert len(pictures.missing) == N_IMAGES
        assert f"{N_IMAGES} of {N_IMAGES} photographs cannot be shown" in pictures.note
        assert "no answer for 5 files in a row" in pictures.note


def _unanswered(*_: object) -> bytes:
    raise urls.UnansweredError("cannot be read: no answer")


def test_pictures_are_found_again_without_the_list_being_read(
    mixed: Path, settings: ExtractSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "features.h5"
    extract_features(mixed, out, settings)
    monkeypatch.setattr(Manifest, "find", None)
    with FeatureFile(out) as features:
        thumbnails = Thumbnails(features, images_of(features, mixed))
        made = thumbnails.make(range(features.n_images), 8)
    assert thumbnails.missing == {}
    assert sorted(made) == list(range(N_IMAGES))
