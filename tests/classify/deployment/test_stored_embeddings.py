"""What `predict` and `similar` take from feature files, and what they compute."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.deployment import stored_embeddings
from headbench.classify.deployment.named_images import name_images
from headbench.classify.deployment.stored_embeddings import StoredEmbeddings, embed_files
from headbench.classify.run import Run
from headbench.extract.images.stream import ImageFile
from headbench.extract.networks.backbone import MeanColor
from headbench.extract.settings import Runtime
from tests.conftest import write_image


class Opened(MeanColor):
    """Counts how often the network is opened."""

    times = 0

    def open(self, *arguments):
        type(self).times += 1
        return super().open(*arguments)


@pytest.fixture
def network() -> Opened:
    Opened.times = 0
    return Opened(16)


def content_of(file: ImageFile) -> bytes:
    return hashlib.sha256(Path(file.path).read_bytes()).digest()


def embedded(
    network: Opened, files: Sequence[ImageFile], stored: StoredEmbeddings
) -> tuple[list[int], np.ndarray, dict[int, str]]:
    reasons: dict[int, str] = {}

    def note(row: int, reason: Exception) -> None:
        reasons[row] = str(reason)

    found = list(embed_files(lambda: network, files, stored, Runtime(batch_size=2), note))
    rows = [row for each in found for row in each.rows.tolist()]
    return rows, np.concatenate([each.embeddings for each in found]), reasons


@pytest.fixture
def mixed(photos: Path) -> list[ImageFile]:
    """Known, new and broken files, in turns."""
    files = []
    for number, path in enumerate(sorted(photos.glob("*/*.png"))[:20]):
        new, broken = photos.parent / f"new{number}.png", photos.parent / f"broken{number}.png"
        write_image(new, 90_000 + number)
        broken.write_bytes(b"no image")
        files += [ImageFile(path), ImageFile(new), ImageFile(broken)]
    return [*files, *map(ImageFile, sorted(photos.glob("red/*.png")))]


@pytest.mark.parametrize("chunk", [7, 2048])
def test_known_and_new_images_come_in_order_and_equal_those_computed(
    run: Run, mixed: list[ImageFile], network: Opened, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(stored_embeddings, "CHUNK_FILES", chunk)
    stored = StoredEmbeddings(network.identity, [run.features_path])
    rows, X, reasons = embedded(network, mixed, stored)
    assert Opened.times == 1
    all_rows, expected, all_reasons = embedded(network, mixed, StoredEmbeddings(network.identity))
    assert rows == all_rows == [row for row in range(len(mixed)) if row not in reasons]
    assert reasons == all_reasons
    assert len(reasons) == 20
    np.testing.assert_array_equal(X, expected)


def test_known_images_open_no_network_even_when_moved_and_renamed(
    run: Run, photos: Path, network: Opened
) -> None:
    moved = photos.rename(photos.with_name("elsewhere"))
    files = [ImageFile(path) for path in sorted(moved.glob("*/*.png"))]
    stored = StoredEmbeddings(network.identity, [run.features_path])
    rows, X, _ = embedded(network, files, stored)
    assert (len(rows), Opened.times) == (90, 0)
    with FeatureFile(run.features_path) as features:
        np.testing.assert_array_equal(X, features.read(np.arange(90)))


def test_a_changed_image_and_another_network_are_computed(
    run: Run, photos: Path, network: Opened
) -> None:
    path = photos / "red/000.png"
    write_image(path, 4711)
    stored = StoredEmbeddings(network.identity, [run.features_path])
    embedded(network, [ImageFile(path)], stored)
    assert Opened.times == 1
    other, files = Opened(24), [ImageFile(photos / "red/001.png")]
    assert StoredEmbeddings(other.identity, stored.paths).find(content_of(files[0])) is None
    assert stored.find(content_of(files[0])) == (run.features_path, 61)
    embedded(other, files, StoredEmbeddings(other.identity, stored.paths))
    assert Opened.times == 2


def test_a_run_is_named_by_name_or_folder_and_its_images_need_not_be_there(
    run: Run, photos: Path, network: Opened
) -> None:
    photos.rename(photos.with_name("elsewhere"))
    runs = {"colors": run.features_path, str(run.folder): run.features_path}
    named = name_images(["colors", str(run.folder)], runs.get)
    assert (len(named.paths), named.stores) == (180, [run.features_path] * 2)
    assert named.paths[0] == photos / "blue/000.png"
    stored = StoredEmbeddings(network.identity, named.stores)
    files = [ImageFile(path, named.contents[path]) for path in named.paths]
    rows, _, reasons = embedded(network, files, stored)
    assert (len(rows), reasons, Opened.times) == (180, {}, 0)


def test_hashes_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    contents = np.zeros((3, 32), dtype=np.uint8)
    contents[:, 31] = [0, 1, 2]
    found = stored_embeddings._Contents(tmp_path, contents)
    assert found.find(contents[0].tobytes()) == (tmp_path, 0)
    # Not found is embedded again: never another image's embedding.
    assert found.find(contents[1].tobytes()) in (None, (tmp_path, 1))
    assert found.find(b"\xff" * 32) is None
