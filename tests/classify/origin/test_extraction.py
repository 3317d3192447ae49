from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cache.reader import FeatureFile
from classify.origin.extraction import BATCH, MOVING, Extraction, Variant, extract_variants
from classify.origin.images import split_images
from classify.origin.model import digest
from classify.origin.settings import OriginSettings
from classify.run import Run
from extract.backbones import create_backbone
from extract.embedder import relative_difference
from extract.keras_backbone import KerasBackbone
from extract.sources.open import find_images
from tests.conftest import write_class_folders

RIGHT, BY_BATCH = Variant("caffe", MOVING), Variant("caffe", BATCH)


@pytest.fixture(scope="module")
def base() -> Any:
    return backbone().base()


def backbone() -> KerasBackbone:
    made = create_backbone("resnet50", "random", 32)
    assert isinstance(made, KerasBackbone)
    return made


def extract(photos: Path, base: Any, seed: int = 0, batch_size: int = 8) -> Extraction:
    settings = OriginSettings(weights="random", size_px=32)
    images = split_images(find_images(photos), backbone().identity, settings, lambda _: None)
    return extract_variants(backbone(), base, images, batch_size, seed)


def used(extraction: Extraction) -> np.ndarray:
    images = extraction.images
    return np.concatenate([images.rows("train"), images.rows("val")])


def test_done_right_the_embeddings_are_those_of_make_features(
    network_run: Run, network_photos: Path, base: Any
) -> None:
    extraction = extract(network_photos, base)
    rows = used(extraction)
    with FeatureFile(network_run.features_path) as features:
        assert features.table.paths == extraction.images.table.paths
        expected = features.read(rows)
    assert relative_difference(extraction.embeddings[RIGHT][rows], expected) < 1e-4


def test_only_batch_statistics_make_an_embedding_depend_on_its_neighbours(
    network_photos: Path, base: Any
) -> None:
    first, second = (extract(network_photos, base, seed) for seed in (0, 1))
    rows = used(first)
    for name in ("caffe", "/255"):
        moving, batch = Variant(name, MOVING), Variant(name, BATCH)
        same = relative_difference(second.embeddings[moving][rows], first.embeddings[moving][rows])
        other = relative_difference(second.embeddings[batch][rows], first.embeddings[batch][rows])
        assert same < 1e-5
        assert other > 1e-2


def test_four_extractions_differ_and_leave_the_network_as_it_was(
    network_photos: Path, base: Any
) -> None:
    before = digest(base)
    extraction = extract(network_photos, base)
    assert digest(base) == before
    assert not any(layer.trainable for layer in base.layers)
    assert len(extraction.embeddings) == 4
    right = extraction.embeddings[RIGHT][used(extraction)]
    for variant, embeddings in extraction.embeddings.items():
        if variant != RIGHT:
            assert relative_difference(embeddings[used(extraction)], right) > 1e-2


def test_a_file_that_cannot_be_decoded_is_left_out_and_its_neighbours_are_unharmed(
    tmp_path: Path, base: Any
) -> None:
    photos = write_class_folders(tmp_path / "photos", n_per_class=20)
    whole = extract(photos, base)
    (photos / "green/000a.png").write_bytes(b"no picture")
    extraction = extract(photos, base)
    assert [each.path for each in extraction.images.table.rejected] == ["green/000a.png"]
    assert extraction.images.table.paths == whole.images.table.paths
    rows = used(whole)
    found = extraction.embeddings[RIGHT][rows]
    assert relative_difference(found, whole.embeddings[RIGHT][rows]) < 1e-5
