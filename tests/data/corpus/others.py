"""WebP, BMP, GIF, TIFF, AVIF and HEIC files, and what is no image at all."""

import gzip
import importlib.util
import io
import struct
import zipfile

import numpy as np
from PIL import Image, features

from tests.data.corpus.case import (
    GREY,
    HEIGHT,
    PICTURE,
    TOO_MANY,
    TRUNCATED,
    WIDTH,
    Case,
    damaged,
    encode,
    refused,
)
from tests.data.corpus.jpeg import jpeg, oriented
from tests.data.corpus.png import HALF, HALF_WHITE, RGB

UPSIDE_DOWN = PICTURE.rotate(180)
HALF_CLEAR = Image.fromarray(np.dstack([RGB, HALF]))
UNKNOWN = "not an image file of a known kind"
NO_WHITE = "32 bits per channel"
HAS_HEIF = importlib.util.find_spec("pillow_heif") is not None
NEEDS_HEIC = "cannot be decoded" if HAS_HEIF else "HEIC needs one more package"


def webp_cases() -> dict[str, Case]:
    """All of them, by file name."""
    whole = encode(PICTURE, "WEBP", lossless=True)
    image, exif = oriented(8)
    return {
        "lossy.webp": Case(encode(PICTURE, "WEBP", quality=95), most_off=4),
        "lossless.webp": Case(whole),
        "alpha.webp": Case(encode(HALF_CLEAR, "WEBP", lossless=True), picture=HALF_WHITE),
        "animated.webp": Case(
            encode(PICTURE, "WEBP", save_all=True, append_images=[UPSIDE_DOWN], lossless=True)
        ),
        "oriented.webp": Case(encode(image, "WEBP", exif=exif, lossless=True)),
        "cut.webp": refused(whole[: len(whole) // 2], "cannot be decoded"),
        "cut-header.webp": refused(whole[:14], damaged("WEBP")),
    }


def bmp_cases() -> dict[str, Case]:
    """All of them, by file name."""
    whole = encode(PICTURE, "BMP")
    palette = PICTURE.quantize(64)
    bits = PICTURE.convert("1")
    return {
        "24.bmp": Case(whole),
        "32.bmp": Case(encode(HALF_CLEAR, "BMP"), picture=None),
        "8.bmp": Case(encode(palette, "BMP"), picture=palette.convert("RGB")),
        "grey.bmp": Case(encode(GREY, "BMP"), picture=GREY),
        "1.bmp": Case(encode(bits, "BMP"), picture=bits),
        "run-lengths.bmp": Case(_run_lengths(), picture=Image.new("RGB", (WIDTH, HEIGHT), "red")),
        "cut.bmp": refused(whole[: len(whole) // 2], TRUNCATED),
        "cut-header.bmp": refused(whole[:20], TRUNCATED),
        "letters.bmp": refused(b"BMW is a make of cars", TRUNCATED),
        "bomb.bmp": refused(whole[:18] + struct.pack("<ii", 40_000, 40_000) + whole[26:], TOO_MANY),
    }


def _run_lengths() -> bytes:
    """A red picture as 8-bit run lengths."""
    pixels = bytes([WIDTH, 1, 0, 0]) * HEIGHT + b"\0\1"
    info = struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, 8, 1, len(pixels), 0, 0, 2, 0)
    start = 14 + len(info) + 8
    palette = bytes([0, 0, 0, 0, 0, 0, 255, 0])
    size = start + len(pixels)
    return b"BM" + struct.pack("<IHHI", size, 0, 0, start) + info + palette + pixels


def gif_cases() -> dict[str, Case]:
    """All of them, by file name."""
    image = PICTURE.quantize(64)
    whole = encode(image, "GIF")
    clear = Image.fromarray((HALF[..., 0] // 255), "P")
    clear.putpalette([9, 9, 9, 200, 30, 40])
    shown = Image.new("RGB", clear.size, "white")
    shown.paste((200, 30, 40), (WIDTH // 2, 0, WIDTH, HEIGHT))
    return {
        "palette.gif": Case(whole, picture=image.convert("RGB")),
        "interlaced.gif": Case(encode(image, "GIF", interlace=1), picture=image.convert("RGB")),
        "transparent.gif": Case(encode(clear, "GIF", transparency=0), picture=shown),
        "animated.gif": Case(
            encode(PICTURE, "GIF", save_all=True, append_images=[UPSIDE_DOWN]), most_off=6
        ),
        "cut.gif": refused(whole[: len(whole) // 2], TRUNCATED),
        "cut-header.gif": refused(whole[:9], damaged("GIF")),
        "no-frames.gif": refused(whole[:13] + b";", damaged("GIF")),
    }


def tiff_cases() -> dict[str, Case]:
    """All of them, by file name."""
    whole = encode(PICTURE, "TIFF")
    wide = Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257)
    floats = Image.fromarray(np.asarray(GREY).astype(np.float32) / 255)
    image, exif = oriented(5)
    return {
        "raw.tiff": Case(whole),
        "lzw.tif": Case(encode(PICTURE, "TIFF", compression="tiff_lzw")),
        "deflate.tif": Case(encode(PICTURE, "TIFF", compression="tiff_adobe_deflate")),
        "jpeg.tif": Case(encode(PICTURE, "TIFF", compression="jpeg", quality=95), most_off=4),
        "fax.tif": Case(
            encode(PICTURE.convert("1"), "TIFF", compression="group4"), picture=PICTURE.convert("1")
        ),
        "cmyk.tif": Case(encode(PICTURE.convert("CMYK"), "TIFF")),
        "lab.tif": Case(encode(_lab(), "TIFF"), most_off=255),
        "alpha.tif": Case(encode(HALF_CLEAR, "TIFF"), picture=HALF_WHITE),
        "16.tif": Case(encode(wide, "TIFF"), picture=GREY),
        "16-big-endian.tif": Case(_big_endian(), picture=GREY),
        "pages.tif": Case(encode(PICTURE, "TIFF", save_all=True, append_images=[UPSIDE_DOWN])),
        "tiled.tif": Case(_tiled(), picture=Image.new("L", (64, 48), 77)),
        "oriented.tif": Case(encode(image, "TIFF", exif=exif)),
        "float.tif": refused(encode(floats, "TIFF"), NO_WHITE),
        "integer.tif": refused(encode(wide.convert("I"), "TIFF"), NO_WHITE),
        "circle.tif": Case(_circle(whole)),
        "cut.tif": refused(whole[: len(whole) // 2], TRUNCATED),
        "cut-header.tif": refused(whole[:8], "cannot be decoded"),
        "cut-lzw.tif": refused(
            encode(PICTURE, "TIFF", compression="tiff_lzw")[:3000], "cannot be decoded"
        ),
        "directory-nowhere.tif": refused(b"II*\0\xff\xff\xff\x7f", "cannot be decoded"),
    }


def _lab() -> Image.Image:
    return Image.merge("LAB", PICTURE.split())


def tiff(order: str, width: int, height: int, bits: int, data: bytes, **more: int) -> bytes:
    """An uncompressed grey TIFF by hand; order ``<`` or ``>``; `more` tags as ``t322=64``."""
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 277: 1}
    if more:
        tags |= {int(name[1:]): value for name, value in more.items()}
    else:
        tags |= {273: 8, 278: height, 279: len(data)}
    entries = b"".join(
        struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in sorted(tags.items())
    )
    start = b"II" if order == "<" else b"MM"
    directory = struct.pack(f"{order}H", len(tags)) + entries + bytes(4)
    return start + struct.pack(f"{order}HI", 42, 8 + len(data)) + data + directory


def _big_endian() -> bytes:
    pixels = np.asarray(GREY).astype(">u2") * 257
    return tiff(">", WIDTH, HEIGHT, 16, pixels.astype(">u2").tobytes())


def _tiled() -> bytes:
    return tiff("<", 64, 48, 8, bytes([77]) * 64 * 48, t322=64, t323=48, t324=8, t325=64 * 48)


def _circle(whole: bytes) -> bytes:
    """The next page is this page."""
    (directory,) = struct.unpack_from("<I", whole, 4)
    (n_tags,) = struct.unpack_from("<H", whole, directory)
    end = directory + 2 + 12 * n_tags
    return whole[:end] + struct.pack("<I", directory) + whole[end + 4 :]


def modern_cases() -> dict[str, Case]:
    """AVIF and HEIC."""
    box = struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"heic", 0, b"mif1", b"heic")
    cases = {"phone.heic": refused(box + bytes(99), NEEDS_HEIC)}
    if "avif" in features.get_supported_modules():
        whole = encode(PICTURE, "AVIF", quality=95)
        image, exif = oriented(6)
        cases |= {
            "photo.avif": Case(whole, most_off=4),
            "alpha.avif": Case(
                encode(HALF_CLEAR, "AVIF", quality=95), picture=HALF_WHITE, most_off=4
            ),
            "oriented.avif": Case(encode(image, "AVIF", exif=exif, quality=95), most_off=4),
            "cut.avif": refused(whole[: len(whole) // 2], damaged("AVIF")),
            "cut-header.avif": refused(whole[:40], damaged("AVIF")),
        }
    return cases


def no_image_cases() -> dict[str, Case]:
    """What is no image."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.jpg", jpeg())
    text = "text, not an image"
    html = "an HTML page, not an image"
    return {
        "empty.jpg": refused(b"", "empty file"),
        "zeros.png": refused(bytes(4000), "contains only zero bytes"),
        "one-byte.jpg": refused(b"\xff", UNKNOWN),
        "text.jpg": refused("Not found: déjà vu".encode(), text),
        "text-16.jpg": refused("Not found".encode("utf-16"), UNKNOWN),
        "page.jpg": refused(b"\xef\xbb\xbf\n<!DOCTYPE html>\n<html><body>404</body></html>", html),
        "error.png": refused(
            b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', text
        ),
        "drawing.png": refused(b'<svg xmlns="http://www.w3.org/2000/svg"/>', text),
        "pointer.jpg": refused(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", text),
        "document.jpg": refused(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", UNKNOWN),
        "archive.jpg": refused(archive.getvalue(), UNKNOWN),
        "gzip.jpg": refused(gzip.compress(jpeg()), UNKNOWN),
        "sound.webp": refused(b"RIFF\x24\0\0\0WAVEfmt " + bytes(40), UNKNOWN),
        "film.avif": refused(b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(99), UNKNOWN),
        "old.jpg": refused(encode(PICTURE, "PCX"), UNKNOWN),
        "noise.jpg": refused(np.random.default_rng(0).bytes(3000), UNKNOWN),
    }
