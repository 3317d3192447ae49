"""The sample that networks are tried on."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.extract.sample import Sample, draw_sample
from headbench.extract.settings import ExtractSettings
from headbench.extract.sources.open import find_images
from headbench.extract.stage import choose_backbone, embed_sample, extract_features
from tests.conftest import COLORS, content_of, listen, needs_posix, write_class_folders, write_image


def draw(photos: Path, n_images: int, settings: ExtractSettings, n_fewest: int = 1) -> Sample:
    return draw_sample(find_images(photos), n_images, n_fewest, settings)


def embed(sample: Sample, out: Path, settings: ExtractSettings) -> int:
    return embed_sample(sample, choose_backbone(settings, out), out, settings).n_new


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """48 images of one class, 24 of the two others together."""
    photos = write_class_folders(tmp_path / "photos", n_per_class=12)
    for image in range(36):
        write_image(photos / "red" / f"more{image}.png", 5000 + image, COLORS["red"])
    return photos


def test_each_class_has_its_share_of_the_sample(uneven: Path, settings: ExtractSettings) -> None:
    sample = draw(uneven, 30, settings)
    assert Counter(image.class_name for image in sample.dataset.images) == {
        "red": 20,
        "blue": 5,
        "green": 5,
    }
    assert len(set(sample.contents)) == 30
    least = draw(uneven, 3, settings, n_fewest=5)
    assert set(Counter(image.class_name for image in least.dataset.images).values()) == {5}


def test_no_image_of_test_is_in_the_sample_and_each_has_its_split_of_the_whole(
    uneven: Path, settings: ExtractSettings, tmp_path: Path
) -> None:
    settings = replace(settings, seed=3, val_share=0.3)
    sample = draw(uneven, 1000, settings)
    table = extract_features(uneven, tmp_path / "features.h5", settings)
    split_of = dict(zip(table.contents(), table.splits.tolist(), strict=True))
    # All of train and val, as they are fewer.
    assert set(sample.contents) == {each for each, split in split_of.items() if split != 2}
    found = sample.table(choose_backbone(settings).identity, settings)
    assert found.splits.tolist() == [split_of[each] for each in found.contents()]
    assert found.config.data == table.config.data


def test_images_that_the_source_names_for_test_are_not_in_the_sample(
    settings: ExtractSettings, tmp_path: Path
) -> None:
    for number, split in enumerate(("train", "val", "test")):
        write_class_folders(tmp_path / "photos" / split, 8, first_seed=10_000 * number)
    sample = draw(tmp_path / "photos", 1000, settings)
    assert Counter(image.given_split for image in sample.dataset.images) == {"train": 24, "val": 24}


def test_a_larger_sample_holds_the_smaller_one_and_another_seed_draws_others(
    photos: Path, settings: ExtractSettings
) -> None:
    small, large = draw(photos, 12, settings), draw(photos, 30, settings)
    assert set(small.contents) < set(large.contents)
    assert set(draw(photos, 12, replace(settings, seed=1)).contents) != set(small.contents)


def test_copies_take_no_place_in_the_sample(photos: Path, settings: ExtractSettings) -> None:
    for path in list((photos / "red").iterdir()):
        shutil.copy(path, photos / "red" / f"copy-of-{path.name}")
    sample = draw(photos, 60, settings)
    assert len(set(sample.contents)) == len(sample.contents)
    assert Counter(image.class_name for image in sample.dataset.images)["red"] >= 24


@needs_posix
def test_what_cannot_be_read_makes_room_for_others(photos: Path, settings: ExtractSettings) -> None:
    drawn = draw(photos, 30, settings).dataset.images[0].path
    (photos / drawn).unlink()
    (photos / drawn).symlink_to("nowhere")
    sample = draw(photos, 30, settings)
    assert len(sample.contents) == 30
    assert drawn not in [image.path for image in sample.dataset.images]


def test_a_run_of_all_images_goes_on_with_the_sample_whatever_its_split(
    photos: Path, settings: ExtractSettings, tmp_path: Path
) -> None:
    out = tmp_path / "runs/photos/features.h5"
    assert embed(draw(photos, 30, settings), out, settings) == 30
    assert not out.exists()
    assert embed(draw(photos, 30, settings), out, settings) == 0
    assert embed(draw(photos, 36, settings), out, settings) == 6
    said = listen()
    for changed in ({"seed": 5}, {"val_share": 0.4}, {"store": "float16"}):
        run = Path(shutil.copytree(out.parent, tmp_path / "runs" / str(changed)))
        other = replace(settings, **changed)
        extract_features(photos, run / out.name, other)
        assert any("54 extracted (36 more were finished before)" in line for line in said)
        said.clear()
        alone = tmp_path / "alone" / str(changed) / "features.h5"
        extract_features(photos, alone, other)
        assert content_of(run / out.name) == content_of(alone)
        said.clear()


def test_images_that_cannot_be_decoded_are_named_and_left_out(
    photos: Path, settings: ExtractSettings, tmp_path: Path
) -> None:
    damaged = draw(photos, 30, settings).dataset.images[0].path
    (photos / damaged).write_bytes(b"no image")
    said, out = listen(), tmp_path / "runs/photos/features.h5"
    sample = draw(photos, 1000, settings)
    embedded = embed_sample(sample, choose_backbone(settings, out), out, settings)
    assert damaged not in embedded.table.paths
    assert len(embedded.X) == len(embedded.table.paths) == len(sample.contents) - 1
    assert any(f"1 images cannot be used, such as {damaged}" in line for line in said)
    assert embed(sample, out, settings) == 0


def test_an_image_that_changes_meanwhile_is_left_out(
    photos: Path, settings: ExtractSettings, tmp_path: Path
) -> None:
    sample = draw(photos, 30, settings)
    changed = sample.dataset.images[0].path
    write_image(photos / changed, 99_999)
    out = tmp_path / "features.h5"
    embedded = embed_sample(sample, choose_backbone(settings, out), out, settings)
    assert changed not in embedded.table.paths
    assert embedded.table.rejected[0].reason == "changed while the sample was drawn"


def test_embeddings_of_a_finished_run_are_used(
    photos: Path, settings: ExtractSettings, tmp_path: Path
) -> None:
    out = tmp_path / "features.h5"
    extract_features(photos, out, settings)
    before = out.read_bytes()
    embedded = embed_sample(
        draw(photos, 30, settings), choose_backbone(settings, out), out, settings
    )
    assert (embedded.n_new, embedded.seconds) == (0, 0.0)
    with FeatureFile(out) as features:
        rows = np.array([features.table.paths.index(path) for path in embedded.table.paths])
        assert (features.read(rows) == embedded.X).all()
    assert out.read_bytes() == before
