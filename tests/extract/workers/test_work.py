"""Files to parts, as one process does it."""

from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from headbench.cache.writer import Parts
from headbench.extract.images.stream import ImageFile, hash_files
from headbench.extract.networks.backbone import create_backbone
from headbench.extract.settings import Runtime
from headbench.extract.workers.embed import Job, Noted, Outcome, Work
from tests.conftest import write_image

SIZE_PX = 16


def job_in(
    folder: Path, network: object = None, part_images: int = 4, part_seconds: float = 1000
) -> Job:
    backbone = create_backbone("mean-color", "imagenet", SIZE_PX)
    return Job(
        network=network or backbone,  # type: ignore[arg-type]
        resizing=SIZE_PX,
        runtime=Runtime(batch_size=2),
        parts=Parts(folder / "features.h5", backbone.identity.fingerprint),
        part_images=part_images,
        part_seconds=part_seconds,
        identity=backbone.identity,
    )


def images_in(folder: Path, n_images: int) -> list[ImageFile]:
    for number in range(n_images):
        write_image(folder / f"{number}.png", number)
    return [ImageFile(folder / f"{number}.png") for number in range(n_images)]


def contents_of(files: list[ImageFile]) -> list[bytes]:
    return [content for content in hash_files(files) if isinstance(content, bytes)]


@pytest.fixture
def files(tmp_path: Path) -> list[ImageFile]:
    return images_in(tmp_path, 10)


def done(job: Job, files: list[ImageFile], known: set[bytes] = frozenset()) -> list[Outcome]:  # type: ignore[assignment]
    outcomes = Noted()
    Work(job, known, outcomes).do(files)
    return sorted(outcomes)


def test_each_file_is_told_of_once_with_its_content(tmp_path: Path, files: list[ImageFile]) -> None:
    outcomes = done(job_in(tmp_path), files)
    assert [each.row for each in outcomes] == list(range(10))
    assert [each.content for each in outcomes] == contents_of(files)


def test_a_part_is_finished_when_it_is_full_and_at_the_end(
    tmp_path: Path, files: list[ImageFile]
) -> None:
    outcomes = done(job_in(tmp_path, part_images=4), files)
    rows = [each.location.row for each in outcomes if each.location]
    assert rows == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    assert len({each.location.path for each in outcomes if each.location}) == 3


def test_time_alone_ends_a_part(tmp_path: Path, files: list[ImageFile]) -> None:
    # No batch comes as soon as that after another; a batch has two images.
    outcomes = done(job_in(tmp_path, part_images=1000, part_seconds=1e-9), files)
    assert [each.location.row for each in outcomes if each.location] == [0, 1] * 5
    assert len({each.location.path for each in outcomes if each.location}) == 5


def test_the_time_of_a_part_begins_anew_after_each(
    tmp_path: Path, files: list[ImageFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = count()
    monkeypatch.setattr(
        "headbench.extract.workers.embed.time", SimpleNamespace(monotonic=lambda: next(seconds))
    )
    # Asked at the start of a part and after each batch: two batches are within 2 seconds.
    outcomes = done(job_in(tmp_path, part_images=1000, part_seconds=2), files)
    rows = [each.location.row for each in outcomes if each.location]
    assert rows == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]


def test_a_location_is_where_the_embedding_of_that_file_lies(
    tmp_path: Path, files: list[ImageFile]
) -> None:
    job = job_in(tmp_path)
    found = {each.content: each.location for each in done(job, files)}
    assert found == job.parts.find()


def test_known_contents_are_read_and_not_embedded(tmp_path: Path, files: list[ImageFile]) -> None:
    known = set(contents_of(files)[:7])
    outcomes = done(job_in(tmp_path), files, known)
    assert [each.location is None for each in outcomes] == [True] * 7 + [False] * 3
    assert not any(each.reason for each in outcomes)


def test_what_cannot_be_used_is_told_with_the_reason_and_its_content(
    tmp_path: Path, files: list[ImageFile]
) -> None:
    (tmp_path / "3.png").write_bytes(b"no image")
    (tmp_path / "5.png").unlink()
    outcomes = done(job_in(tmp_path), files)
    assert [each.row for each in outcomes if each.reason] == [3, 5]
    assert outcomes[3].content == next(iter(hash_files([files[3]])))
    assert outcomes[5].content == b""


def test_a_file_that_is_not_what_was_expected_is_not_embedded(
    tmp_path: Path, files: list[ImageFile]
) -> None:
    [outcome] = done(job_in(tmp_path), [files[0]._replace(content_sha256=bytes(32))])
    assert "changed after it was listed" in outcome.reason
    assert outcome.location is None
