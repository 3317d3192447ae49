import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cache.errors import StorageError
from extract import download as module
from extract.download import download
from extract.errors import DownloadError
from tests.extract.archive_server import Answer, Asked, Site, serving

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(module, "PAUSES_SECONDS", (0.0, 0.0, 0.0))


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(CONTENT) as site:
        yield site


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "downloads/file.bin"


@pytest.fixture
def fetch(site: Site, target: Path) -> Callable[[], list[str]]:
    """Downloads, makes sure of the result, and returns what was said."""

    def fetch() -> list[str]:
        said: list[str] = []
        download(site.url, target, SHA256, 2.0, said.append)
        assert {path.name: path.read_bytes() for path in target.parent.iterdir()} == {
            target.name: CONTENT
        }
        return said

    return fetch


def test_a_file_comes_in_one_piece_without_a_word(site: Site, fetch: Callable) -> None:
    assert fetch() == []
    assert site.asked == [Asked(None, None)]


def test_after_a_broken_connection_only_the_rest_is_asked_for(site: Site, fetch: Callable) -> None:
    site.answers.extend([Answer(n_sent=100_000), Answer(n_sent=50_000)])
    said = fetch()
    assert site.asked == [
        Asked(None, None),
        Asked("bytes=100000-", '"one"'),
        Asked("bytes=150000-", '"one"'),
    ]
    assert "closed before the end of 300,000 bytes; 100,000 bytes are here" in said[0]


def test_a_connection_that_breaks_ever_again_is_borne_as_long_as_more_comes(
    site: Site, fetch: Callable
) -> None:
    site.answers.extend([Answer(n_sent=10_000)] * 20)
    assert len(fetch()) == 20


def test_a_server_that_breaks_off_and_starts_anew_each_time_is_given_up(
    site: Site, fetch: Callable
) -> None:
    site.answers.extend([Answer(n_sent=10_000, ignores_range=True)] * 20)
    with pytest.raises(DownloadError, match="closed before the end"):
        fetch()
    assert len(site.asked) < 6


def test_another_run_goes_on_where_the_first_was_given_up(
    site: Site, fetch: Callable, target: Path
) -> None:
    site.answers.extend([Answer(n_sent=100_000), *[Answer(n_sent=0)] * 3])
    with pytest.raises(DownloadError) as caught:
        fetch()
    assert f"put it at {target}, and run the same command again" in str(caught.value)
    assert not target.exists()
    site.asked.clear()
    fetch()
    assert site.ranges == ["bytes=100000-"]


def test_a_silent_server_is_asked_again(
    site: Site, fetch: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.5)
    site.answers.append(Answer(n_sent=100_000, stall_seconds=3.0))
    [said] = fetch()
    assert "timed out" in said
    assert site.ranges == [None, "bytes=100000-"]


def test_a_server_that_is_overloaded_is_asked_again(site: Site, fetch: Callable) -> None:
    site.answers.extend([Answer(503), Answer(429)])
    assert ["503" in said or "429" in said for said in fetch()] == [True, True]
    assert site.ranges == [None] * 3


def test_a_file_that_is_not_there_is_asked_for_once(site: Site, fetch: Callable) -> None:
    site.answers.append(Answer(404))
    with pytest.raises(DownloadError, match="the server answers 404 Not Found"):
        fetch()
    assert len(site.asked) == 1


def test_no_network_is_told_at_once(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES_SECONDS", (60.0,))
    with serving(b"") as gone:
        pass
    with pytest.raises(DownloadError, match=r"cannot be reached .*refused.*put it at"):
        download(gone.url, target, SHA256, 1.0, pytest.fail)


@pytest.mark.parametrize("url", ["http://a b/c", "http://[::1/c", "http://a:b/c", "http://ä/ö"])
def test_what_is_no_address_is_told_at_once(
    target: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSES_SECONDS", (60.0,))
    with pytest.raises(DownloadError):
        download(url, target, SHA256, 1.0, pytest.fail)


@pytest.mark.parametrize("validator", [{"ETag": '"two"'}, {"Last-Modified": "today"}, {}])
def test_versions_are_told_apart_by_what_the_server_says(
    site: Site, fetch: Callable, validator: dict[str, str]
) -> None:
    site.headers = validator
    site.answers.append(Answer(n_sent=100_000))
    fetch()
    assert site.asked[1] == Asked("bytes=100000-", next(iter(validator.values()), None))


def test_a_weak_etag_is_no_promise_of_the_same_bytes(site: Site, fetch: Callable) -> None:
    site.headers = {"ETag": 'W/"one"', "Last-Modified": "today"}
    site.answers.append(Answer(n_sent=100_000))
    fetch()
    assert site.asked[1].if_range == "today"


def test_two_versions_are_not_glued_together(site: Site, fetch: Callable) -> None:
    site.content = b"old" * 100_000
    site.answers.extend([Answer(n_sent=100_000), *[Answer(n_sent=0)] * 3])
    with pytest.raises(DownloadError):
        fetch()
    site.content, site.headers = CONTENT, {"ETag": '"two"'}
    fetch()
    assert site.asked[-1] == Asked("bytes=100000-", '"one"')


@pytest.mark.parametrize(
    "answer", [Answer(ignores_range=True), Answer(wrong_offset=7), Answer(416)]
)
def test_whatever_is_not_the_rest_starts_anew(site: Site, fetch: Callable, answer: Answer) -> None:
    site.answers.extend([Answer(n_sent=100_000), answer])
    fetch()
    assert site.ranges[:2] == [None, "bytes=100000-"]
    assert set(site.ranges[2:]) <= {None}


def test_bytes_of_no_known_version_are_not_trusted(
    site: Site, fetch: Callable, target: Path
) -> None:
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(CONTENT[:1000])
    target.with_name("file.bin.part.json").write_text('{"n_by')
    fetch()
    assert site.ranges == [None]


def test_what_came_whole_and_was_not_renamed_is_not_asked_for(
    site: Site, fetch: Callable, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "check_sha256", stop)
        with pytest.raises(KeyboardInterrupt):
            fetch()
    assert not target.exists()
    fetch()
    assert len(site.asked) == 1


def test_a_wrong_checksum_names_both_and_the_file_is_put_aside(
    site: Site, fetch: Callable, target: Path
) -> None:
    site.content = bad = CONTENT[:-1] + b"?"
    with pytest.raises(DownloadError) as caught:
        fetch()
    found = hashlib.sha256(bad).hexdigest()
    aside = target.with_name("file.bin.wrong")
    for phrase in (str(target), SHA256, found, "300,000 bytes", f"It is {aside} now"):
        assert phrase in str(caught.value)
    assert aside.read_bytes() == bad
    assert not target.exists()
    aside.unlink()
    site.content = CONTENT
    fetch()
    assert site.ranges == [None, None]


def test_a_length_that_is_not_told_is_refused(site: Site, fetch: Callable) -> None:
    site.answers.append(Answer(tells_length=False))
    with pytest.raises(DownloadError, match="does not say how long"):
        fetch()


def test_the_disk_must_have_room_for_the_rest_and_what_is_made_of_it(
    site: Site, fetch: Callable, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.answers.extend([Answer(n_sent=100_000), *[Answer(n_sent=0)] * 3])
    with pytest.raises(DownloadError):
        fetch()
    free = SimpleNamespace(free=499_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(StorageError, match=r"500,000 bytes of free space .* found 499,999"):
        fetch()
    assert target.with_name("file.bin.part").stat().st_size == 100_000
    free.free = 500_000
    fetch()


def test_a_disk_that_fails_is_not_taken_for_the_network(
    site: Site, fetch: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.Progress, "update", full)
    with pytest.raises(StorageError, match="No space left on device"):
        fetch()
    assert len(site.asked) == 1
