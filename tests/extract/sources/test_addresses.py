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
    ],
)
def test_secrets_are_left_out_and_nothing_else(text: str, expected: str) -> None:
    assert without_secrets(text) == expected


def test_an_address_with_a_secret_is_refused_without_saying_it() -> None:
    with pytest.raises(DataError) as found:
        refuse_secrets("https://host/photos?sig=hidden")
    assert str(found.value).startswith("https://host/photos?...: expected an address without")
    assert "hidden" not in str(found.value)
