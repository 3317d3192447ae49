import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime

import fsspec
import pytest

from headbench.extract.errors import DataError
from headbench.extract.sources import urls
from headbench.extract.sources.urls import (
    ARCHIVES,
    N_TRIES,
    STORES,
    UNKNOWN,
    is_address,
    is_lasting,
    open_url,
    patiently,
    protocols_of,
    refuse_secrets,
    stamp,
    without_secrets,
    words,
)


class StatusError(Exception):
    """As HTTP libraries have them."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


class ResponseError(Exception):
    """As botocore has them."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


def caused_by(status: int) -> OSError:
    error = OSError(22, "Invalid")
    error.__cause__ = ResponseError(status)
    return error


LASTING = [
    FileNotFoundError(), PermissionError(), ValueError(), KeyError(), zipfile.BadZipFile(),
    StatusError(401), StatusError(404), ResponseError(400), caused_by(400),
]  # fmt: skip
PASSING = [
    OSError(), ConnectionResetError(), TimeoutError(), RuntimeError(), StatusError(500),
    StatusError(503), StatusError(429), StatusError(408), ResponseError(503), caused_by(500),
]  # fmt: skip


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    made: list[float] = []
    monkeypatch.setattr(urls, "pause", made.append)
    return made


def failing(*errors: Exception) -> Iterator[str]:
    yield from errors
    yield "done"


def call_each(outcomes: Iterator) -> object:
    def call() -> object:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return patiently(call)


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_what_stays_so_is_not_tried_again(error: Exception, pauses: list[float]) -> None:
    assert is_lasting(error)
    with pytest.raises(type(error)):
        call_each(failing(error))
    assert pauses == []


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_may_pass_is_tried_again(error: Exception, pauses: list[float]) -> None:
    assert not is_lasting(error)
    assert call_each(failing(*[error] * (N_TRIES - 1))) == "done"
    assert len(pauses) == N_TRIES - 1
    with pytest.raises(type(error)):
        call_each(failing(*[error] * N_TRIES))


def test_pauses_grow_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[float] = []
    monkeypatch.setattr(urls.time, "sleep", made.append)
    for _ in range(20):
        call_each(failing(OSError(), OSError()))
    first, second = made[::2], made[1::2]
    assert len(set(first)) > 10
    assert 0.25 <= min(first) <= max(first) <= 0.75
    assert 0.5 <= min(second) <= max(second) <= 1.5


def test_no_try_begins_when_patience_is_over(
    pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urls, "PATIENCE_SECONDS", -1.0)
    with pytest.raises(TimeoutError):
        call_each(failing(TimeoutError()))
    assert pauses == []


def test_words_are_one_line_whatever_an_error_says() -> None:
    assert words(OSError("first\nsecond")) == "first"
    assert words(TimeoutError()) == "no answer"
    assert words(RuntimeError()) == "RuntimeError"
    assert words(OSError("GET http://a:b@host/x?X-Amz-Signature=c")) == "GET http://...@host/x?..."


AT = datetime(2026, 1, 2, tzinfo=UTC)
AT_NS = int(AT.timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({}, UNKNOWN),
        ({"size": 5}, UNKNOWN),
        ({"size": 5, "mtime": AT}, (5, AT_NS, 0, 0)),
        ({"size": 5, "mtime": AT.timestamp()}, (5, AT_NS, 0, 0)),
        ({"size": 5, "Last-Modified": "Fri, 02 Jan 2026 00:00:00 GMT"}, (5, AT_NS, 0, 0)),
        ({"size": 5, "updated": "2026-01-02T00:00:00Z"}, (5, AT_NS, 0, 0)),
        ({"size": 5, "updated": "yesterday"}, UNKNOWN),
    ],
    ids=str,
)
def test_a_stamp_is_what_is_known_of_a_version(details: dict, expected: tuple) -> None:
    assert stamp(details) == expected


def test_versions_of_one_size_and_time_differ_in_their_tag() -> None:
    one, other = ({"size": 5, "LastModified": AT, "ETag": tag} for tag in ("a", "b"))
    assert stamp(one) == stamp(dict(one))
    assert stamp(one) != stamp(other)
    assert stamp(one)[:3] == (5, 0, 0)


@pytest.mark.parametrize("url", ["s3://b/p", "zip://p::s3://b/a.zip", "zip::a.zip", "gs://b"])
def test_addresses_are_told_from_folders(url: str) -> None:
    assert is_address(url)
    refuse_secrets(url)


@pytest.mark.parametrize("path", ["photos", "/data/a::b", "./a::b", "C:\\photos", "a:b", "../s3"])
def test_folders_are_no_addresses(path: str) -> None:
    assert not is_address(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://me:pass@host/a", "https://...@host/a"),
        ("zip://a::ftp://me:pass@host/b.zip", "zip://a::ftp://...@host/b.zip"),
        ("403, url='https://host/a?X-Amz-Signature=s&b=c'", "403, url='https://host/a?...'"),
        ("sftp://me@host/a", "sftp://...@host/a"),
        ("s3://bucket/what?/a.jpg", "s3://bucket/what?/a.jpg"),
        ("is it there? a=b", "is it there? a=b"),
        ("https://token@host/a", "https://...@host/a"),
        ("HTTPS://me:p@ss@host/a", "HTTPS://...@host/a"),
        ("https://me:se/cret@host/a", "https://...@host/a"),
        ("s3://AKIA:abc/def@bucket/x", "s3://...@bucket/x"),
        ("sftp://me@domain:pass@host/a", "sftp://...@host/a"),
        ("no answer of 'https://host/a?secret'.", "no answer of 'https://host/a?...'."),
        ("https://host/a(1).jpg?sig=a'b)c", "https://host/a(1).jpg?..."),
        ("GET /a?sig=hidden", "GET /a?..."),
        ("https://host/a;sig=hidden", "https://host/a;..."),
        ("'https://host/a#access_token=hidden'.", "'https://host/a#...'."),
        ("https://host/a;jsession; and b", "https://host/a;...; and b"),
        ("https://host/a%3Ftoken=hidden, b", "https://host/a%3F..., b"),
        ("https://host/a%253ftoken%3Dhidden", "https://host/a%253f..."),
        ("s3://bucket/a%3FX-Amz-Signature%3Dhidden", "s3://bucket/a%3F..."),
        ("GET /a;sig=hidden", "GET /a;..."),
        ("https://host/a?...hidden", "https://host/a?..."),
        ("https://host/a; try again", "https://host/a; try again"),
        ("https://host/what%3F %231.jpg", "https://host/what%3F %231.jpg"),
        ("http://host:8080/a@b.jpg", "http://host:8080/a@b.jpg"),
        ("abfs://container@account/a@b.jpg", "abfs://container@account/a@b.jpg"),
    ],
)
def test_secrets_are_left_out_and_nothing_else(text: str, expected: str) -> None:
    assert without_secrets(text) == expected
    assert without_secrets(f"{expected}: no.") == f"{expected}: no."


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/photos?sig=hidden", "https://host/photos?..."),
        ("https://host/photos?hidden", "https://host/photos?..."),
        ("https://hidden@host/photos", "https://...@host/photos"),
        ("zip://a::https://host/b.zip?hidden", "zip://a::https://host/b.zip?..."),
        ("https://host/my photos/a?hid den", "https://host/my%20photos/a?..."),
        ("s3://AKIA:hidden/hidden@bucket/photos", "s3://...@bucket/photos"),
        ("ftp://me:hid::den@host/photos", "ftp://...@host/photos"),
        ("az://container/photos?sig=hidden", "az://container/photos?..."),
        ("sftp://hidden@host:22/a@b.jpg", "sftp://...@host:22/a@b.jpg"),
        ("hdfs://hidden@node/a", "hdfs://...@node/a"),
        ("https://host/photos;sig=hidden", "https://host/photos;..."),
        ("https://host/photos;hidden", "https://host/photos;..."),
        ("https://host/photos#access_token=hidden", "https://host/photos#..."),
        ("https://host/photos#hidden", "https://host/photos#..."),
        ("https://host/photos%3Ftoken=hidden", "https://host/photos%3F..."),
        ("https://host/photos%3ftoken%3dhidden", "https://host/photos%3f..."),
        ("s3://bucket/photos;token=hidden", "s3://bucket/photos;..."),
        ("https://host/photos?...hidden", "https://host/photos?..."),
        ("zip://a::https://host/b.zip#hidden", "zip://a::https://host/b.zip#..."),
    ],
)
def test_an_address_with_a_secret_is_refused_without_saying_it(url: str, shown: str) -> None:
    with pytest.raises(DataError) as found:
        refuse_secrets(url)
    assert str(found.value).startswith(f"{shown}: expected a URL without password")
    assert "hid" not in str(found.value)


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/a@b:c@d.jpg",
        "s3://bucket/a?b=c.jpg",
        "gs://bucket/me:you@home/what?.jpg",
        "s3://arn:aws:s3:eu-west-1:123:accesspoint/mine/a@b.jpg",
        "zip://a@b?.jpg::s3://bucket/all?x=1.zip",
        "hdfs://node:8020/a@b.jpg",
        "https://host:8080/@me/a.jpg?",
        "abfs://container@account/a@b.jpg",
        "https://host/what%3F/%231.jpg",
        "s3://bucket/a;b#c=d.jpg",
        "shards/what?x=1.tar",
    ],
)
def test_what_only_looks_like_a_secret_is_none(url: str) -> None:
    refuse_secrets(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://host/list.csv", ("https",)),
        ("file:///data/a.png", ("file",)),
        ("zip://photos::s3://bucket/all.zip", ("zip", "s3")),
        ("zip::/data/all.zip", ("zip", "file")),
        ("zip://photos::all.zip", ("zip", "file")),
        ("zip://a:b::/data/a:b.zip", ("zip", "file")),
        ("tar://a::zip://b.tar::memory://c.zip", ("tar", "zip", "memory")),
    ],
)
def test_a_store_and_archives_in_it_are_opened(url: str, expected: tuple[str, ...]) -> None:
    assert protocols_of(url) == expected


OTHERS = sorted({*fsspec.available_protocols(), "https+x", "", "a_b"} - {*STORES, *ARCHIVES})


@pytest.mark.parametrize("protocol", OTHERS)
def test_no_other_protocol_is_opened_alone_or_in_a_chain(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fsspec.core, "url_to_fs", None)
    chains = ("{}://a", "{}:://a", "{}::s3://b/a", "zip://a::{}://b", "zip://a::{}::s3://b")
    for url in [chain.format(protocol) for chain in chains]:
        with pytest.raises(DataError, match=r"cannot be opened \(protocol "):
            open_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "reference::http://host/a.json",
        "zip://a::reference",
        "zip://a::data:application/zip;base64,UEsF",
        "http://host/a::reference",
        "http://host/a::file:///data/a",
        "s3://bucket/a::zip",
        "zip://a::zip",
    ],
)
def test_a_chain_of_anything_but_archives_is_not_opened(url: str) -> None:
    with pytest.raises(DataError, match=r"only zip and tar can be chained\.$"):
        open_url(url)


@pytest.mark.parametrize("part", ["?key", "%3F", ";sig", ")", "@", "://", "&token", "?key=)"])
def test_a_path_made_to_be_slow_to_read_is_looked_at_quickly(part: str) -> None:
    started = time.monotonic()
    without_secrets("https://host/" + part * 100_000)
    assert time.monotonic() - started < 1
