"""A feature file that stands on its parts, made and kept up to date by stage one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cache.reader import FeatureFile
from extract import stage
from extract.settings import ExtractSettings
from extract.stage import extract_features
from tests.conftest import write_image


@pytest.fixture
def linked(settings: ExtractSettings, monkeypatch: pytest.MonkeyPatch) -> ExtractSettings:
    """Settings with which 50 images are too many to merge; parts of 16."""
    monkeypatch.setattr(stage, "PART_IMAGES", 16)
    return replace(settings, merge_rows=50)


def embeddings_by_path(path: Path) -> dict[str, list[float]]:
    with FeatureFile(path) as features:
        table = features.table
        rows = features.read(np.arange(features.n_images))
        return dict(zip(table.paths, rows.tolist(), strict=True))


def extracted(photos: Path, out: Path, settings: ExtractSettings) -> list[str]:
    said: list[str] = []
    extract_features(photos, out, settings, said.append)
    return said


def is_linked(path: Path) -> bool:
    with FeatureFile(path) as features:
        return features.is_virtual


def n_parts(path: Path) -> int:
    return len(list(path.with_name(f"{path.name}.parts").glob("*/*.h5")))


@pytest.mark.parametrize("store", ["float32", "float16"])
def test_above_a_size_the_file_stands_on_parts_and_holds_the_same(
    photos: Path, tmp_path: Path, linked: ExtractSettings, store: str
) -> None:
    merged, out = tmp_path / "merged.h5", tmp_path / "linked.h5"
    extracted(photos, merged, replace(linked, merge_rows=1000, store=store))
    extracted(photos, out, replace(linked, store=store))
    assert (is_linked(merged), is_linked(out)) == (False, True)
    assert (n_parts(merged), n_parts(out) > 1) == (0, True)
    assert embeddings_by_path(out) == embeddings_by_path(merged)


def test_with_nothing_new_a_file_on_parts_is_up_to_date(
    photos: Path, tmp_path: Path, linked: ExtractSettings
) -> None:
    out = tmp_path / "linked.h5"
    extracted(photos, out, linked)
    before = out.read_bytes()
    assert extracted(photos, out, linked)[-1].endswith("up to date, nothing to do")
    assert out.read_bytes() == before


def test_what_is_new_comes_as_one_more_part(
    photos: Path, tmp_path: Path, linked: ExtractSettings
) -> None:
    merged, out = tmp_path / "merged.h5", tmp_path / "linked.h5"
    extracted(photos, out, linked)
    before = n_parts(out)
    write_image(photos / "red/new.png", seed=9000)
    (photos / "blue/003.png").unlink()
    assert "1 new, 0 changed, 1 removed" in "".join(extracted(photos, out, linked))
    assert n_parts(out) == before + 1
    extracted(photos, merged, replace(linked, merge_rows=1000))
    assert embeddings_by_path(out) == embeddings_by_path(merged)


def test_a_file_goes_over_to_parts_and_back_without_extracting_anything(
    photos: Path, tmp_path: Path, linked: ExtractSettings
) -> None:
    out = tmp_path / "features.h5"
    extracted(photos, out, replace(linked, merge_rows=1000))
    expected = embeddings_by_path(out)
    write_image(photos / "red/new.png", seed=9000)
    assert ": 1 to extract" in "".join(extracted(photos, out, linked))
    assert is_linked(out)
    (photos / "red/new.png").unlink()
    assert ": 0 to extract" in "".join(extracted(photos, out, replace(linked, merge_rows=1000)))
    assert (is_linked(out), n_parts(out)) == (False, 0)
    assert embeddings_by_path(out) == expected
