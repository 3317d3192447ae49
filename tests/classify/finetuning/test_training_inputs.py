from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headbench.classify.finetuning.augmentation import augmented
from headbench.classify.finetuning.training_inputs import AugmentedInputs, CachedInputs
from headbench.classify.labelled_files import LabelledFiles
from headbench.extract.images.resizing import Resizing, shorter_side_px
from headbench.extract.images.stream import DecodedImage, ImageFile
from headbench.extract.settings import LETTERBOX, NONE, SQUASH

SIZE_PX = 32
FRAME_PX = shorter_side_px(SIZE_PX)


def pictures(n: int = 6) -> Iterator[DecodedImage]:
    ramp = np.linspace(0, 255, FRAME_PX).astype(np.uint8)
    picture = np.stack([np.tile(ramp, (FRAME_PX, 1))] * 3, axis=-1)
    return (DecodedImage(row, picture) for row in range(n))


def changed(seed: tuple[int, int]) -> list[np.ndarray]:
    dataset = augmented(pictures, FRAME_PX, SIZE_PX, seed)
    return [pixels for _, pixels in dataset.as_numpy_iterator()]


def test_the_same_seed_and_epoch_give_the_same_pictures_and_others_others() -> None:
    first = changed((0, 1))
    np.testing.assert_array_equal(first, changed((0, 1)))
    for other in ((0, 2), (1, 1)):
        assert all((a != b).any() for a, b in zip(first, changed(other), strict=True))


def test_pictures_come_in_order_in_the_networks_size() -> None:
    dataset = augmented(pictures, FRAME_PX, SIZE_PX, (0, 1))
    rows, images = zip(*dataset.as_numpy_iterator(), strict=True)
    assert list(rows) == list(range(6))
    assert {(image.shape, image.dtype) for image in images} == {
        ((SIZE_PX, SIZE_PX, 3), np.dtype(np.uint8))
    }


def test_equal_pictures_are_cropped_mirrored_and_coloured_in_different_ways() -> None:
    images = [each.astype(int) for epoch in range(4) for each in changed((0, epoch))]
    rises = [image[:, -1].mean() > image[:, 0].mean() for image in images]
    assert {True, False} == set(rises)  # a mirrored ramp falls
    spans = [abs(image[:, -1].mean() - image[:, 0].mean()) for image in images]
    assert np.std(spans) > 10  # a crop sees a part of the ramp
    assert np.std([image.mean() for image in images]) > 10


def test_how_an_image_is_changed_does_not_depend_on_who_else_is_read(photos: Path) -> None:
    """Else a run that is resumed would see other images than one that was not interrupted."""
    files = [ImageFile(path) for path in sorted(photos.rglob("*.png"))[:6]]
    inputs = AugmentedInputs(LabelledFiles(files, np.zeros(6, np.int32), 16))

    def changed(order: list[int]) -> dict[int, np.ndarray]:
        batches = inputs.batches(np.array(order), 2, (0, 1))
        return {row: image for batch in batches for row, image in zip(*batch, strict=True)}

    of_all, of_part = changed([3, 0, 5, 1, 4, 2]), changed([5, 4])
    assert sorted(of_all) == list(range(6))
    assert sorted(of_part) == [4, 5]
    for row, image in of_part.items():
        np.testing.assert_array_equal(image, of_all[row])


@pytest.mark.parametrize("rule", [SQUASH, LETTERBOX, NONE])
def test_a_run_is_augmented_from_pictures_of_its_own_rule(tmp_path: Path, rule: str) -> None:
    """White on both ends of a wide picture: the crop does not see them, the other rules do."""
    pixels = np.zeros((SIZE_PX, SIZE_PX if rule == NONE else 3 * SIZE_PX, 3), np.uint8)
    pixels[:, : SIZE_PX // 4] = pixels[:, -SIZE_PX // 4 :] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    files = [ImageFile(tmp_path / "wide.png")] * 8
    inputs = AugmentedInputs(LabelledFiles(files, np.zeros(8, np.int32), Resizing(SIZE_PX, rule)))
    [(_, seen)] = inputs.batches(np.arange(8), 8, (0, 1))
    assert seen.shape == (8, SIZE_PX, SIZE_PX, 3)
    assert (seen > 200).any(axis=(1, 2, 3)).mean() > 0.5


def test_each_epoch_reads_the_next_copy_and_begins_again_after_the_last() -> None:
    class Store:
        def read(self, keys: list[bytes]) -> np.ndarray:
            return np.array([[key[0]] for key in keys], np.float16)

    copies = [[b"\1", b"\2"], [b"\3", b"\4"]]
    inputs = CachedInputs(Store(), copies, np.zeros(2, np.int32))  # type: ignore[arg-type]
    read = [
        [batch.inputs.ravel().tolist() for batch in inputs.batches(np.array([1, 0]), 2, (0, epoch))]
        for epoch in (1, 2, 3)
    ]
    assert read == [[[2, 1]], [[4, 3]], [[2, 1]]]
