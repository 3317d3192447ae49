import importlib
import struct

import pytest
from PIL import Image, features

from headbench.extract.errors import UnusableImageError
from headbench.extract.images.kinds import kind_of, open_image
from tests.data.corpus.case import PICTURE, encode


def box(*brands: bytes) -> bytes:
    """The first box of a HEIC or AVIF file, and a little more."""
    content = b"ftyp" + brands[0] + bytes(4) + b"".join(brands)
    return struct.pack(">I", len(content) + 4) + content + bytes(50)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_the_content_tells_the_kind(kind: str) -> None:
    assert kind_of(encode(PICTURE, kind)) == kind
    assert open_image(encode(PICTURE, kind)).format == kind


@pytest.mark.parametrize(
    ("brands", "kind"),
    [
        ([b"heic", b"mif1"], "HEIF"),
        ([b"mif1", b"heic"], "HEIF"),
        ([b"heix"], "HEIF"),
        ([b"avif", b"mif1"], "AVIF"),
        ([b"mif1", b"avif", b"miaf"], "AVIF"),
        ([b"isom", b"mp42"], None),
    ],
)
def test_brands_tell_photographs_from_films(brands: list[bytes], kind: str | None) -> None:
    assert kind_of(box(*brands)) == kind


def test_heic_without_its_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    with pytest.raises(UnusableImageError, match=r"pip install \"headbench\[heic\]\""):
        open_image(box(b"heic"))


def test_avif_without_its_library_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "get_supported_modules", list)
    with pytest.raises(UnusableImageError, match="newer Pillow"):
        open_image(box(b"avif"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<html>", "an HTML page"),
        (b"\n <!doctype  HTML><p>", "an HTML page"),
        ("déjà vu ".encode() * 999, "text"),
        ("é".encode() * 512 + b"x", "text"),
        (bytes(9), "contains only zero bytes"),
        (b"\xff", "not an image file of a known kind"),
        (b"RIFF1234WAVE", "not an image file of a known kind|text"),
        (b"plain\0text", "not an image file of a known kind"),
    ],
)
def test_what_is_no_image_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(UnusableImageError, match=reason):
        open_image(data)
