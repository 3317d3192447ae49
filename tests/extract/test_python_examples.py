"""The Python of docs/sources.md runs as it stands, each block on the same small images."""

import importlib.util
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from headbench.cache.reader import FeatureFile
from headbench.extract import settings as settings_module
from headbench.extract.networks.keras_runtime import load_tensorflow
from headbench.extract.settings import ExtractSettings
from tests.conftest import write_image
from tests.pages import blocks

CLASSES = ["cat", "dog"]
BLOCKS = [each.text for each in blocks("docs/sources.md", "python")]
N_PER_CLASS = 20


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Images of two classes, in the working folder."""
    monkeypatch.chdir(tmp_path)
    colors = {"cat": (200, 40, 40), "dog": (40, 40, 200)}
    for number, (name, color) in enumerate(colors.items()):
        for image in range(N_PER_CLASS):
            write_image(Path("pets", name, f"{image:03}.png"), 100 * number + image, color)
    return sorted(Path("pets").glob("*/*.png"))


@pytest.fixture
def names(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the examples find there: no network, data of every kind."""
    small = partial(ExtractSettings, backbone="mean-color", size_px=16, batch_size=8)
    monkeypatch.setattr(settings_module, "ExtractSettings", small)
    save_hugging_face(paths)
    write_records(paths)
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
    labels = [CLASSES.index(path.parent.name) for path in paths]
    return {"pixels": pixels, "labels": labels}


class ImageFolder:
    """What the example needs of torchvision's: classes, a length, and items by number."""

    def __init__(self, root: str) -> None:
        self.paths = sorted(Path(root).glob("*/*"))
        self.classes = sorted({path.parent.name for path in self.paths})

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[Image.Image, int]:
        path = self.paths[row]
        return Image.open(path).convert("RGB"), self.classes.index(path.parent.name)


def put_stand_in_for_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("torchvision.datasets")
    module.ImageFolder = ImageFolder  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)


def save_hugging_face(paths: list[Path]) -> None:
    datasets.disable_progress_bars()
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES)}
    splits = {}
    for number, name in enumerate(("train", "validation", "test")):
        some = paths[number::3]
        rows = {
            "image": [{"bytes": path.read_bytes(), "path": None} for path in some],
            "label": [path.parent.name for path in some],
        }
        splits[name] = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))
    datasets.DatasetDict(splits).save_to_disk("saved")


def write_records(paths: list[Path]) -> None:
    tf = load_tensorflow()
    train = tf.train
    for number in range(2):
        with tf.io.TFRecordWriter(f"pets-{number}.tfrecord") as writer:
            for path in paths[number::2]:
                data = train.BytesList(value=[path.read_bytes()])
                label = train.Int64List(value=[CLASSES.index(path.parent.name)])
                feature = {
                    "image/encoded": train.Feature(bytes_list=data),
                    "image/class/label": train.Feature(int64_list=label),
                }
                features = train.Features(feature=feature)
                writer.write(train.Example(features=features).SerializeToString())


def made() -> tuple[set[bytes], set[tuple[str, tuple[float, ...]]], dict[str, Any]]:
    """Contents, classes with embeddings, and how the data was described."""
    with FeatureFile("runs/pets/features.h5") as features:
        table = features.table
        found = set()
        for split in ("train", "val", "test"):
            X, y = features.load(split)
            found |= {
                (table.classes[label], tuple(x)) for label, x in zip(y, X.tolist(), strict=True)
            }
        return set(table.contents()), found, features.config.data


def test_every_example_of_the_page_gives_the_same_embeddings(
    names: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    all_made = []
    for block in BLOCKS:
        if "torchvision" in block and importlib.util.find_spec("torchvision") is None:
            put_stand_in_for_torchvision(monkeypatch)
        exec(block, names)  # noqa: S102, our own page
        all_made.append(made())
    words = " ".join(BLOCKS)
    assert all(each in words for each in ("load_from_disk", "from_tensor", "TFRecord", "torch"))
    contents, found, _ = all_made[0]
    assert len(found) == 2 * N_PER_CLASS
    assert all(embeddings == found for _, embeddings, _ in all_made)
    files, hugging_face, pixels, records, photos = (each[0] for each in all_made)
    assert files == hugging_face == records == contents
    assert pixels == photos
    assert [each[2]["split"] == "as the folder names them" for each in all_made] == [
        *(False, True, False, False, False)
    ]


@pytest.mark.parametrize("block", BLOCKS)
def test_an_example_has_few_lines(block: str) -> None:
    lines = [line for line in block.splitlines() if line]
    assert len(lines) <= 6
