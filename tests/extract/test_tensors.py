"""Images that Python hands over: every kind of image, label and split, and what is refused."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headbench.extract.errors import DataError
from headbench.extract.images.decode import decode
from headbench.extract.networks.keras_runtime import load_tensorflow
from headbench.extract.settings import ExtractSettings
from headbench.extract.sources.python import PythonImages
from headbench.extract.stage import extract_features
from headbench.extract.tensors import extract_dataset
from tests.extract.test_shards import held

CLASSES = ["red", "blue", "green"]
GREY = np.zeros((4, 4, 3), np.uint8)


@pytest.fixture(scope="module")
def tf():
    return load_tensorflow()


@pytest.fixture
def paths(photos: Path) -> list[Path]:
    return sorted(photos.rglob("*.png"))


@pytest.fixture
def folder(photos: Path, settings: ExtractSettings, tmp_path: Path) -> Path:
    """Features of the same images in class folders."""
    out = tmp_path / "folder/features.h5"
    extract_features(photos, out, settings)
    return out


def labels_of(paths: list[Path]) -> list[int]:
    return [CLASSES.index(path.parent.name) for path in paths]


def pixels_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def embeddings_of(features: Path) -> set[tuple[str, tuple[float, ...]]]:
    """Class and embedding of each image, whatever its bytes and its split."""
    return {(name, embedding) for name, _, embedding in held(features).values()}


@pytest.mark.parametrize("kind", [Path.read_bytes, Path, str])
def test_bytes_and_paths_give_what_the_same_files_in_class_folders_do(
    kind: Callable, paths, folder: Path, settings, tmp_path: Path
) -> None:
    pairs = zip(map(kind, paths), labels_of(paths), strict=True)
    out = tmp_path / "python/features.h5"
    table = extract_dataset(pairs, np.array(CLASSES), str(out), settings)
    assert held(out) == held(folder)
    assert table.paths[:2] == ("000000000", "000000001")
    assert table.classes == tuple(CLASSES)
    assert table.config.data["folder"] == "images from Python"


@pytest.mark.parametrize("kind", [pixels_of, Image.open])
def test_pixels_give_the_embeddings_of_files_that_hold_them(
    kind: Callable, paths, folder: Path, settings, tmp_path: Path, embedded
) -> None:
    pairs = [(kind(path), path.parent.name) for path in paths]
    out = tmp_path / "python/features.h5"
    table = extract_dataset(pairs, None, out, settings)
    assert sum(embedded) == len(paths)
    assert embeddings_of(out) == embeddings_of(folder)
    # Read again, and known by its content: in another order, one image changed.
    embedded.clear()
    changed = [(np.array(image), name) for image, name in reversed(pairs)]
    changed[7] = (changed[7][0] // 2, changed[7][1])
    again = extract_dataset(changed, None, out, settings)
    assert sum(embedded) == 1
    assert set(table.contents()) - set(again.contents()) == {table.contents()[-8]}
    assert table.contents()[0] == again.contents()[-1]


def test_arrays_of_the_same_bytes_and_another_shape_are_other_images(
    settings, tmp_path: Path, embedded
) -> None:
    pixels = np.arange(36 * 3, dtype=np.uint8)
    shapes = [(6, 6, 3), (4, 9, 3), (9, 4, 3), (12, 9), (9, 12), (18, 6)]
    pairs = [(pixels.reshape(shape), "ab"[number % 2]) for number, shape in enumerate(shapes)]
    given = [(*pair, ("train", "val", "test")[number % 3]) for number, pair in enumerate(pairs)]
    table = extract_dataset(given, None, tmp_path / "f.h5", settings)
    assert sum(embedded) == len(set(table.contents())) == 6


def test_a_photograph_opened_by_pillow_is_upright_and_on_white() -> None:
    turned, clear = io.BytesIO(), Image.new("RGBA", (30, 30), (0, 0, 0, 0))
    half = Image.new("RGB", (40, 20), (200, 0, 0))
    half.paste((0, 0, 200), (20, 0, 40, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    half.save(turned, "PNG", exif=exif)
    images = [Image.open(turned), turned.getvalue(), clear, Image.new("P", (9, 9), 255)]
    images += [Image.new(mode, (9, 9), 0) for mode in ("1", "L", "CMYK", "I", "F")]
    source = [(image, "ab"[number % 2]) for number, image in enumerate(images)]
    found = list(PythonImages(source).images())
    pixels = [decode(data, 16) for entry, data in found if not entry.reason]
    np.testing.assert_array_equal(pixels[0], pixels[1])
    assert pixels[0][0, 8, 0] > 150 > pixels[0][-1, 8, 0]
    assert (pixels[2] == 255).all()
    assert len(pixels) == 7
    assert [entry.reason for entry, _ in found[7:]] == [
        f"mode {mode} has 32 bits per channel: convert it to 8 bits" for mode in "IF"
    ]


def test_splits_are_those_that_are_named(paths, settings, tmp_path: Path) -> None:
    names = ("train", "train", b"validation", "test")
    given = [(path, path.parent.name, names[number % 4]) for number, path in enumerate(paths)]
    table = extract_dataset(given, None, tmp_path / "f.h5", settings)
    assert table.splits.tolist() == [(0, 0, 1, 2)[number % 4] for number in range(len(paths))]
    assert table.config.data["split"] == "as the folder names them"
    given = [(image, label, "train" if row % 3 else None) for row, (image, label, _) in
             enumerate(given)] + [(paths[0], "green", "extra")]  # fmt: skip
    with pytest.raises(DataError, match="image 90: expected the split train, val or test, found"):
        extract_dataset(given, None, tmp_path / "f.h5", settings)


class Indexed:
    """As a Dataset of PyTorch may be: with a length, and without an end."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths, self.asked = paths, []

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[Image.Image, int]:
        self.asked.append(row)
        path = self.paths[row % len(self)]
        return Image.open(path), CLASSES.index(path.parent.name)


def test_a_sequence_without_iterator_is_read_once_to_its_length(
    paths, folder: Path, settings, tmp_path: Path
) -> None:
    dataset, out = Indexed(paths), tmp_path / "f.h5"
    extract_dataset(dataset, CLASSES, out, settings)
    assert dataset.asked == list(range(len(paths)))
    assert embeddings_of(out) == embeddings_of(folder)


def test_images_may_differ_in_size_and_few_wait_at_a_time(
    settings, tmp_path: Path, embedded
) -> None:
    waiting: list[int] = []

    def pairs() -> Iterator[tuple[np.ndarray, int]]:
        for number in range(600):
            image = np.full((20 + number, 30, 3), number % 3 * 80, np.uint8)
            image[0, 0, 1:] = divmod(number, 256)
            waiting.append(number - sum(embedded))
            yield image, number % 3

    out = tmp_path / "features.h5"
    extract_dataset(pairs(), CLASSES, out, settings)
    assert max(waiting) < 200
    for name, _, embedding in held(out).values():
        assert CLASSES[round(embedding[0] / 80)] == name


def test_what_cannot_be_used_is_listed(paths, settings, tmp_path: Path) -> None:
    pairs: list[tuple[Any, Any]] = list(zip(paths, labels_of(paths), strict=True))
    pairs[1] = (b"no image", 0)
    pairs[2] = (paths[2], -1)
    pairs[3] = (paths[3], None)
    pairs[4] = (None, 0)
    pairs[5] = (paths[5].with_name("gone.png"), 0)
    pairs[6] = (np.zeros((4, 4, 1), np.uint8), 0)
    pairs[7] = (paths[7], b"\xff")
    pairs[8] = (paths[8], "pink")
    table = extract_dataset(pairs, CLASSES, tmp_path / "f.h5", settings)
    assert [(path, reason) for path, reason, _ in table.rejected] == [
        ("000000001", "text, not an image"),
        ("000000002", "its label -1 is not in 0 to 2"),
        ("000000003", "has no label"),
        ("000000004", "has no image"),
        ("000000005", "cannot be read: No such file or directory"),
        ("000000006", "expected (height, width, 3) pixels, found (4, 4, 1)"),
        ("000000007", "its label is not UTF-8 text"),
        ("000000008", "its label 'pink' is not one of the classes"),
    ]
    assert table.paths[:2] == ("000000000", "000000009")
    assert table.labels[0] == labels_of(paths)[0]


@pytest.mark.parametrize(
    ("dataset", "classes", "message"),
    [
        ([(GREY / 255, 0)], CLASSES, "image 0: expected pixels of uint8, found float64: it is unk"),
        ([(GREY, 0)], None, "pass the names of the classes"),
        ([(GREY.astype(np.int32), 0)], CLASSES, r"uint8 \(height, width, 3\) .*found int32"),
        ([(GREY[None], 0)], CLASSES, r"one image at a time.* \(1, 4, 4, 3\).*unbatch"),
        ([(GREY, 0.5)], CLASSES, "one integer or text, found float"),
        ([(GREY, np.array([0, 1]))], CLASSES, "one integer or text, found ndarray"),
        ([({"a": 1}, 0)], CLASSES, "a PIL image or a uint8 array, found dict"),
        ([GREY], CLASSES, r"\(image, label\) or .*found ndarray\. Pass pairs, such as zip"),
        ([{"image": GREY}], CLASSES, "found dict"),
        ("photos", CLASSES, "found str"),
        (3, CLASSES, "stopped after 0 images: TypeError"),
        ([(GREY, 0)] * 6, CLASSES, "only one class"),
        ([(GREY, 0)], ["a", "a"], "different names"),
        ([(GREY, 0)], ["a", "b\n"], "not a line"),
        ([(GREY, 0)], {"a", "b"}, "found set"),
        ([(GREY, 0)], [0, 1], "names .*found int"),
        ([], CLASSES, "expected pairs of image and label; found no files"),
    ],
)
def test_other_datasets_are_refused_with_the_reason(
    dataset, classes, message: str, settings, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        extract_dataset(dataset, classes, tmp_path / "f.h5", settings)


def test_a_dataset_that_fails_says_how_far_it_came(paths, settings, tmp_path: Path) -> None:
    def failing() -> Iterator[tuple[Path, str]]:
        yield from ((path, path.parent.name) for path in paths[:40])
        raise KeyError("row 40")

    with pytest.raises(DataError, match=r"stopped after 40 images: KeyError: 'row 40'\. Fin"):
        extract_dataset(failing(), None, tmp_path / "f.h5", settings)


def test_tensors_of_tensorflow_are_taken_and_batches_and_endless_ones_refused(
    tf, paths, folder: Path, settings, tmp_path: Path
) -> None:
    data = [path.read_bytes() for path in paths]
    dataset = tf.data.Dataset.from_tensor_slices((data, labels_of(paths)))
    extract_dataset(dataset, CLASSES, tmp_path / "f.h5", settings)
    assert held(tmp_path / "f.h5") == held(folder)
    pixels = tf.data.Dataset.from_tensor_slices((tf.zeros((6, 4, 4, 3), tf.uint8), [0] * 6))
    for other, message in (
        (pixels.batch(2), r"one image at a time \(tf\.data: dataset\.unbatch"),
        (pixels.repeat(), "repeats forever"),
    ):
        with pytest.raises(DataError, match=message):
            extract_dataset(other, CLASSES, tmp_path / "f.h5", settings)


def test_a_truncated_tfrecord_says_how_far_it_was_read(tf, settings, tmp_path: Path) -> None:
    path = tmp_path / "records"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number in range(9):
            writer.write(bytes([number]) * 100)
    path.write_bytes(path.read_bytes()[:-50])
    records = tf.data.TFRecordDataset(str(path)).map(lambda record: (record, 0))
    message = r"stopped after 8 images: DataLossError: truncated record at [0-9]+.{0,80}Finished"
    with pytest.raises(DataError, match=message):
        extract_dataset(records, CLASSES, tmp_path / "f.h5", settings)
