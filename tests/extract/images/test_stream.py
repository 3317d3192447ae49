import hashlib
import time
from pathlib import Path

import numpy as np
import pytest

from headbench.extract.errors import TooLargeError, UnusableImageError
from headbench.extract.images import stream
from headbench.extract.images.decode import decode
from headbench.extract.images.stream import (
    N_AHEAD,
    N_READERS,
    ImageFile,
    hash_files,
    image_batches,
    map_ahead,
)
from tests.conftest import write_image


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(11)]
    for number, path in enumerate(paths):
        write_image(path, seed=number)
    return paths


def collect(files: list[ImageFile], batch_size: int) -> tuple[list, dict[int, str]]:
    unusable: dict[int, str] = {}

    def refuse(row: int, reason: UnusableImageError) -> None:
        unusable[row] = str(reason)

    return list(image_batches(files, 16, batch_size, refuse)), unusable


def test_of_large_files_one_at_a_time_is_in_memory(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "LARGE_BYTES", 100)
    now, most = [0], [0]

    def read(path: Path, max_bytes: int) -> bytes:
        if max_bytes == 100:
            raise TooLargeError("larger")
        now[0] += 1
        most[0] = max(most[0], now[0])
        return path.read_bytes()

    def decode_slowly(data: bytes, size_px: int) -> np.ndarray:
        time.sleep(0.01)
        now[0] -= 1
        return decode(data, size_px)

    monkeypatch.setattr(stream, "decode", decode_slowly)
    batches, unusable = collect([ImageFile(path, None, read) for path in paths], batch_size=4)
    assert (sum(len(batch.rows) for batch in batches), unusable, most) == (len(paths), {}, [1])


@pytest.mark.parametrize("batch_size", [1, 4, 11, 64])
def test_images_come_in_order_in_batches_of_any_size(paths: list[Path], batch_size: int) -> None:
    batches, unusable = collect([ImageFile(path) for path in paths], batch_size)
    assert unusable == {}
    assert np.concatenate([batch.rows for batch in batches]).tolist() == list(range(11))
    images = np.concatenate([batch.images for batch in batches])
    for path, image in zip(paths, images, strict=True):
        np.testing.assert_array_equal(image, decode(path.read_bytes(), 16))
    assert all(len(batch.rows) == batch_size for batch in batches[:-1])


def test_an_unusable_file_has_a_reason_and_its_neighbours_keep_their_rows(
    paths: list[Path],
) -> None:
    paths[3].write_bytes(b"text")
    paths[4].unlink()
    paths[9].write_bytes(b"")
    batches, unusable = collect([ImageFile(path) for path in paths], batch_size=4)
    assert np.concatenate([batch.rows for batch in batches]).tolist() == [0, 1, 2, 5, 6, 7, 8, 10]
    assert unusable == {
        3: "text, not an image",
        4: "cannot be read: No such file or directory",
        9: "empty file",
    }
    image = batches[0].images[3]
    np.testing.assert_array_equal(image, decode(paths[5].read_bytes(), 16))


def test_a_file_that_changed_after_it_was_hashed_is_not_taken(paths: list[Path]) -> None:
    files = [ImageFile(path, hashlib.sha256(path.read_bytes()).digest()) for path in paths]
    write_image(paths[2], seed=99)
    _, unusable = collect(files, batch_size=4)
    assert unusable == {2: "its content changed after it was listed: run again"}


def test_hashes_are_those_of_the_bytes(paths: list[Path]) -> None:
    paths[1].unlink()
    found = list(hash_files(map(ImageFile, paths)))
    assert isinstance(found[1], UnusableImageError)
    for path, digest in zip(paths[2:], found[2:], strict=True):
        assert digest == hashlib.sha256(path.read_bytes()).digest()


def test_no_more_files_are_opened_than_may_wait(paths: list[Path]) -> None:
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield ImageFile(paths[taken % len(paths)])

    batches = image_batches(endless(), 16, 8, pytest.fail)
    for _ in range(5):
        next(batches)
    batches.close()
    assert taken <= 5 * 8 + N_AHEAD + 2 * N_READERS


def test_results_come_in_order_whoever_is_done_first() -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.05 if number == 0 else 0)
        return number

    assert list(map_ahead(slow_first, range(20), n_threads=4, n_ahead=8)) == list(range(20))


def test_an_error_comes_in_its_place() -> None:
    results = map_ahead(lambda number: 1 // (3 - number), range(9), n_threads=2, n_ahead=4)
    assert [next(results) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
