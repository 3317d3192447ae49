from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cache.reader import FeatureFile
from classify.errors import RunError
from classify.labelled_files import images_of, open_split
from classify.report.photographs import Thumbnails
from extract import backbones
from extract.errors import DataError
from extract.keras_runtime import load_tensorflow
from extract.settings import ExtractSettings
from extract.stage import extract_features
from extract.tensors import extract_dataset
from extract.tfrecords import extract_tfrecords
from tests.extract.test_shards import held

CLASSES = ["red", "blue", "green"]


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
    extract_features(photos, out, settings, lambda _: None)
    return out


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each batch had that went through the backbone."""
    counts: list[int] = []
    embed = backbones.embed_mean_color

    def counting(batches):
        for batch in batches:
            counts.append(len(batch.rows))
            yield from embed([batch])

    monkeypatch.setattr(backbones, "embed_mean_color", counting)
    return counts


def pixels_of(paths: list[Path]) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path)) for path in paths])


def labels_of(paths: list[Path]) -> list[int]:
    return [CLASSES.index(path.parent.name) for path in paths]


def silent(_: str) -> None:
    pass


def test_encoded_images_give_what_the_same_files_in_class_folders_do(
    tf, paths, folder: Path, settings, tmp_path: Path
) -> None:
    data = [path.read_bytes() for path in paths]
    dataset = tf.data.Dataset.from_tensor_slices((data, labels_of(paths)))
    out = tmp_path / "tf/features.h5"
    table = extract_dataset(dataset, np.array(CLASSES), str(out), settings, silent)
    assert held(out) == held(folder)
    assert table.paths[:2] == ("000000000", "000000001")
    assert table.classes == tuple(CLASSES)
    assert table.config.data["folder"] == "a tf.data.Dataset"


def test_pixels_give_the_embeddings_of_files_that_hold_them(
    tf, paths, folder: Path, settings, tmp_path: Path, embedded
) -> None:
    pixels, names = pixels_of(paths), [path.parent.name for path in paths]
    dataset = tf.data.Dataset.from_tensor_slices((pixels, names))
    out = tmp_path / "tf/features.h5"
    table = extract_dataset(dataset, None, out, settings, silent)
    assert sum(embedded) == len(paths)
    of_name = {(name, embedding) for name, _, embedding in held(out).values()}
    assert of_name == {(name, embedding) for name, _, embedding in held(folder).values()}
    # Read again, and known by its content: in another order, one image changed.
    embedded.clear()
    changed = pixels[::-1].copy()
    changed[7] //= 2
    dataset = tf.data.Dataset.from_tensor_slices((changed, names[::-1]))
    again = extract_dataset(dataset, None, out, settings, silent)
    assert sum(embedded) == 1
    assert set(table.contents()) - set(again.contents()) == {table.contents()[-8]}


def test_a_dataset_is_iterated_once_and_images_may_differ_in_size(
    tf, settings, tmp_path: Path
) -> None:
    n_started = []

    def pairs():
        n_started.append(1)
        for number in range(60):
            yield np.full((20 + number, 30, 3), 4 * number, np.uint8), number % 3

    spec = (tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec((), tf.int64))
    dataset = tf.data.Dataset.from_generator(pairs, output_signature=spec)
    out = tmp_path / "features.h5"
    extract_dataset(dataset, CLASSES, out, settings, silent)
    assert n_started == [1]
    for name, _, embedding in held(out).values():
        assert CLASSES[round(embedding[0]) // 4 % 3] == name


def test_what_cannot_be_used_is_listed(tf, paths, settings, tmp_path: Path) -> None:
    data = [path.read_bytes() for path in paths]
    data[1] = b"no image"
    labels = labels_of(paths)
    labels[2] = -1
    dataset = tf.data.Dataset.from_tensor_slices((data, labels))
    table = extract_dataset(dataset, CLASSES, tmp_path / "f.h5", settings, silent)
    assert [(path, reason) for path, reason, _ in table.rejected] == [
        ("000000001", "text, not an image"),
        ("000000002", "its label -1 is not in 0 to 2"),
    ]
    assert len(table.paths) == len(paths) - 2


@pytest.mark.parametrize(
    ("make", "classes", "message"),
    [
        (lambda tf: (tf.zeros((6, 4, 4, 3)), [0] * 6), CLASSES, "found float32: nobody knows"),
        (lambda tf: (tf.zeros((6, 4, 4, 3), tf.uint8), [0] * 6), None, "names of the classes"),
        (lambda tf: (tf.zeros((6, 4, 4), tf.uint8), [0] * 6), CLASSES, r"\(height, width, 3\)"),
        (lambda tf: (tf.zeros((6, 4, 4, 3), tf.int32), [0] * 6), CLASSES, "images of uint8"),
        (lambda tf: (tf.zeros((6, 4, 4, 3), tf.uint8), [0.5] * 6), CLASSES, "single integers"),
        (lambda tf: (tf.zeros((6, 4, 4, 3), tf.uint8), [[0, 1]] * 6), CLASSES, "single integers"),
        (lambda tf: tf.zeros((6, 4, 4, 3), tf.uint8), CLASSES, r"of \(image, label\)"),
        (lambda tf: (tf.zeros((6, 4, 4, 1), tf.uint8), [0] * 6), CLASSES, r"found \(4, 4, 1\)"),
        (lambda tf: (tf.zeros((6, 4, 4, 3), tf.uint8), [0] * 6), ["a", "a"], "different names"),
        (lambda tf: (tf.zeros((6, 4, 4, 3), tf.uint8), [0] * 6), ["a", "b\n"], "not a line"),
        (lambda tf: (tf.zeros((6, 4, 4, 3), tf.uint8), [0] * 6), CLASSES, "one class only"),
        (lambda tf: ({"a": tf.zeros((6, 4))}, [0] * 6), CLASSES, r"found \(dict, TensorSpec\)"),
        (lambda tf: (tf.zeros((6, 4)), {"y": [0] * 6}), CLASSES, r"found \(TensorSpec, dict\)"),
        (lambda tf: (tf.sparse.eye(6), [0] * 6), CLASSES, r"found \(SparseTensorSpec, Tensor"),
        (lambda tf: (tf.zeros((6, 4, 4, 3), tf.uint8), [0] * 6), {"a", "b"}, "found set"),
        (lambda tf: (tf.zeros((6, 4, 4, 3), tf.uint8), [0] * 6), [0, 1], "names .*found int"),
    ],
)
def test_other_datasets_are_refused_with_the_reason(
    tf, make: Callable, classes, message: str, settings, tmp_path: Path
) -> None:
    dataset = tf.data.Dataset.from_tensor_slices(make(tf))
    with pytest.raises(DataError, match=message):
        extract_dataset(dataset, classes, tmp_path / "f.h5", settings, silent)


def test_what_is_no_dataset_is_named_by_its_type_and_not_printed(settings, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^expected a tf\.data\.Dataset, found ndarray\. Make one"):
        extract_dataset(np.zeros((6, 4, 4, 3)), CLASSES, tmp_path / "f.h5", settings, silent)


def test_batches_and_endless_datasets_are_refused(tf, settings, tmp_path: Path) -> None:
    dataset = tf.data.Dataset.from_tensor_slices((tf.zeros((6, 4, 4, 3), tf.uint8), [0] * 6))
    for other, message in (
        (dataset.batch(2), r"hand over dataset\.unbatch"),
        (dataset.repeat(), "ends"),
    ):
        with pytest.raises(DataError, match=message):
            extract_dataset(other, CLASSES, tmp_path / "f.h5", settings, silent)


def test_later_there_are_no_images_to_look_at_and_it_is_said_why(
    tf, paths, settings, tmp_path: Path
) -> None:
    dataset = tf.data.Dataset.from_tensor_slices((pixels_of(paths), labels_of(paths)))
    out = tmp_path / "f.h5"
    extract_dataset(dataset, CLASSES, out, settings, silent)
    why = "the images came from a tf.data.Dataset, which was read once"
    with FeatureFile(out) as features:
        images = images_of(features, None)
        pictures = Thumbnails(features, images)
        assert pictures.make([0, 1], 16) == {}
        assert pictures.note.startswith(f"No pictures: {why}")
        with pytest.raises(RunError, match=why):
            open_split(features, "val", images)


def write_records(
    tf, path: Path, images: list[bytes], labels: list[int | str], **names: str
) -> None:
    train, options = tf.train, tf.io.TFRecordOptions(compression_type=names.pop("kind", ""))
    image_name = names.get("image", "image/encoded")
    label_name = names.get("label", "image/class/label")
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for image, label in zip(images, labels, strict=True):
            if isinstance(label, str):
                value = train.Feature(bytes_list=train.BytesList(value=[label.encode()]))
            else:
                value = train.Feature(int64_list=train.Int64List(value=[label]))
            data = train.Feature(bytes_list=train.BytesList(value=[image]))
            features = train.Features(feature={image_name: data, label_name: value})
            writer.write(train.Example(features=features).SerializeToString())


def test_tfrecords_give_what_the_same_files_in_class_folders_do(
    tf, paths, folder: Path, settings, tmp_path: Path, embedded
) -> None:
    data, labels = [path.read_bytes() for path in paths], labels_of(paths)
    for number in range(2):
        path = tmp_path / f"records/part-{number}-of-2"
        write_records(tf, path, data[number::2], labels[number::2])
    pattern = tmp_path / "records/part-{0..1}-of-2"
    out = tmp_path / "tf/features.h5"
    table = extract_tfrecords(pattern, np.array(CLASSES), str(out), settings, silent)
    assert held(out) == held(folder)
    assert table.config.data["folder"] == f"{tmp_path}/records/part-0-of-2 and 1 more"
    embedded.clear()
    write_records(tf, tmp_path / "one", data, [CLASSES[label] for label in labels], kind="GZIP",
                  image="x", label="y")  # fmt: skip
    extract_tfrecords([tmp_path / "one"], None, out, settings, silent, "x", "y", "GZIP")
    assert embedded == []
    assert held(out) == held(folder)


def test_bad_records_are_listed_and_bad_files_are_an_error(
    tf, paths, settings, tmp_path: Path
) -> None:
    data, labels = [path.read_bytes() for path in paths], labels_of(paths)
    path, out = tmp_path / "records", tmp_path / "f.h5"
    write_records(tf, path, data, labels)
    with pytest.raises(
        DataError, match="one integer or string in the feature name; there are image"
    ):
        extract_tfrecords(path, CLASSES, out, settings, silent, label="name")
    with pytest.raises(DataError, match="expected 2 TFRecord files, of which 1 are not there"):
        extract_tfrecords([path, tmp_path / "gone"], CLASSES, out, settings, silent)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="stopped after 45 images: truncated record"):
        extract_tfrecords(path, CLASSES, out, settings, silent)
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"\xff\xff no example")
    with pytest.raises(DataError, match=r"000000000 \(not a tf\.train\.Example\)"):
        extract_tfrecords(path, CLASSES, out, settings, silent)
