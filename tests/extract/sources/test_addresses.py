import pytest

from extract.errors import DataError
from extract.sources.addresses import is_address, refuse_secrets, without_secrets


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
        ("sftp://me@host/a", "sftp://me@host/a"),
        ("s3://bucket/what?/a.jpg", "s3://bucket/what?/a.jpg"),
        ("is it there? a=b", "is it there? a=b"),
        ("https://token@host/a", "https://...@host/a"),
        ("HTTPS://me:p@ss@host/a", "HTTPS://...@host/a"),
        ("https://me:se/cret@host/a", "https://...@host/a"),
        ("s3://AKIA:abc/def@bucket/x", "s3://...@bucket/x"),
        ("s3://AKIA:1/def@bucket/x", "s3://...@bucket/x"),
        ("sftp://me@domain:pass@host/a", "sftp://...@host/a"),
        ("no answer of 'https://host/a?secret'.", "no answer of 'https://host/a?...'."),
        ("https://host/a(1).jpg?sig=a'b)c", "https://host/a(1).jpg?..."),
        ("GET /a?sig=hidden", "GET /a?..."),
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
        ("s3://AKIA:hidden/hidden@bucket/photos", "s3://...@bucket/photos"),
        ("zip://a::s3://AKIA:1/hidden@bucket/b.zip", "zip://a::s3://...@bucket/b.zip"),
        ("zip://a::https://host/b.zip?hidden", "zip://a::https://host/b.zip?..."),
        ("ftp://me:hid::den@host/photos", "ftp://...@host/photos"),
        ("https://host/my photos/a?hid den", "https://host/my%20photos/a?..."),
        ("az://container/photos?sig=hidden", "az://container/photos?..."),
    ],
)
def test_an_address_with_a_secret_is_refused_without_saying_it(url: str, shown: str) -> None:
    with pytest.raises(DataError) as found:
        refuse_secrets(url)
    assert str(found.value).startswith(f"{shown}: expected an address without password")
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
        "sftp://me@host:22/a@b.jpg",
        "shards/what?x=1.tar",
    ],
)
def test_what_only_looks_like_a_secret_is_none(url: str) -> None:
    refuse_secrets(url)
