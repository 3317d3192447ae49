"""PNG files, the odd ones put together by hand."""

import struct
import zlib

import numpy as np
from PIL import Image

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
from tests.data.corpus.jpeg import oriented

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY_TYPE, RGB_TYPE, GREY_ALPHA_TYPE, RGB_ALPHA_TYPE = 0, 2, 4, 6
CHANNELS = {GREY_TYPE: 1, RGB_TYPE: 3, GREY_ALPHA_TYPE: 2, RGB_ALPHA_TYPE: 4}
# Adam7: first column, first row, steps.
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]


def chunk(name: bytes, content: bytes, checksum: int | None = None) -> bytes:
    """A chunk, with the checksum that it should have or another."""
    right = zlib.crc32(name + content)
    end = struct.pack(">I", right if checksum is None else checksum)
    return struct.pack(">I", len(content)) + name + content + end


def header(width: int, height: int, depth: int = 8, color: int = RGB_TYPE, lace: int = 0) -> bytes:
    """Signature and first chunk."""
    return SIGNATURE + chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, lace)
    )


def rows(pixels: np.ndarray) -> bytes:
    """Unfiltered rows: (height, width, channels), big-endian."""
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def png(pixels: np.ndarray, color: int, before: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG of uint8 or uint16 (height, width, channels)."""
    height, width = pixels.shape[:2]
    big_endian = pixels.astype(pixels.dtype.newbyteorder(">"))
    data = chunk(b"IDAT", zlib.compress(rows(big_endian)))
    start = header(width, height, 8 * pixels.dtype.itemsize, color)
    return start + before + data + after + chunk(b"IEND", b"")


RGB = np.asarray(PICTURE)
L = np.asarray(GREY)[..., None]
OPAQUE = np.full((HEIGHT, WIDTH, 1), 255, dtype=np.uint8)
HALF = OPAQUE.copy()
HALF[:, : WIDTH // 2] = 0
# Transparent pixels have a colour too, which must not shine through.
HALF_WHITE = Image.fromarray(np.where(HALF, RGB, 255).astype(np.uint8))
HALF_WHITE_GREY = Image.fromarray(np.where(HALF, L, 255).astype(np.uint8)[..., 0])


def png_cases() -> dict[str, Case]:
    """All of them, by file name."""
    wide = RGB.astype(np.uint16) * 257
    wide_grey = L.astype(np.uint16) * 257
    half = HALF.astype(np.uint16) * 257
    return {
        "rgb.png": Case(encode(PICTURE, "PNG")),
        "called.jpg": Case(encode(PICTURE, "PNG")),
        "grey.png": Case(encode(GREY, "PNG"), picture=GREY),
        "rgba.png": Case(png(np.dstack([RGB, HALF]), RGB_ALPHA_TYPE), picture=HALF_WHITE),
        "grey-alpha.png": Case(png(np.dstack([L, HALF]), GREY_ALPHA_TYPE), picture=HALF_WHITE_GREY),
        "rgb-16.png": Case(png(wide, RGB_TYPE)),
        "grey-16.png": Case(png(wide_grey, GREY_TYPE), picture=GREY),
        "rgba-16.png": Case(png(np.dstack([wide, half]), RGB_ALPHA_TYPE), picture=HALF_WHITE),
        "grey-alpha-16.png": Case(
            png(np.dstack([wide_grey, half]), GREY_ALPHA_TYPE), picture=HALF_WHITE_GREY
        ),
        "interlaced.png": Case(_interlaced()),
        "animated.png": Case(
            encode(PICTURE, "PNG", save_all=True, append_images=[PICTURE.rotate(180)])
        ),
        "oriented.png": Case(_turned()),
        "trailing.png": Case(encode(PICTURE, "PNG") + b"more" * 99),
        **{f"palette-{bits}.png": _palette(bits) for bits in (1, 2, 4, 8)},
        **_transparent_colors(),
        **_texts(),
        **_damaged(),
    }


def _turned() -> bytes:
    image, exif = oriented(6)
    return encode(image, "PNG", exif=exif)


def _interlaced() -> bytes:
    parts = [RGB[y::dy, x::dx] for x, y, dx, dy in PASSES] + [RGB[1::2]]
    data = chunk(b"IDAT", zlib.compress(b"".join(map(rows, parts))))
    return header(WIDTH, HEIGHT, lace=1) + data + chunk(b"IEND", b"")


def _palette(bits: int) -> Case:
    image = PICTURE.quantize(2**bits)
    return Case(encode(image, "PNG", bits=bits), picture=image.convert("RGB"))


def _transparent_colors() -> dict[str, Case]:
    """Alpha that is not a channel: of a palette, or one colour that stands for nothing."""
    image = Image.fromarray((HALF[..., 0] // 255) * 2, "P")
    image.putpalette([9, 9, 9, 0, 0, 0, 200, 30, 40])
    shown = Image.new("RGB", image.size, "white")
    shown.paste((200, 30, 40), (WIDTH // 2, 0, WIDTH, HEIGHT))
    return {
        "palette-alpha.png": Case(encode(image, "PNG", transparency=b"\0\x80"), picture=shown),
        "palette-one.png": Case(encode(image, "PNG", transparency=0), picture=shown),
        "grey-key.png": Case(_keyed(np.uint8, 7), picture=_keyed_shown()),
        "grey-key-16.png": Case(_keyed(np.uint16, 7 * 257), picture=_keyed_shown()),
    }


def _keyed(dtype: type, key: int) -> bytes:
    pixels = np.where(HALF, 90 * (key // 7), key).astype(dtype)
    return png(pixels, GREY_TYPE, before=chunk(b"tRNS", struct.pack(">H", key)))


def _keyed_shown() -> Image.Image:
    return Image.fromarray(np.where(HALF, 90, 255).astype(np.uint8)[..., 0])


def _texts() -> dict[str, Case]:
    bomb = zlib.compress(bytes(50_000_000))
    too_much = "cannot be decoded: Decompressed data too large"
    return {
        "text.png": Case(png(RGB, RGB_TYPE, chunk(b"tEXt", b"Comment\0hello"))),
        "text-bomb.png": refused(png(RGB, RGB_TYPE, chunk(b"zTXt", b"a\0\0" + bomb)), too_much),
        "itxt-bomb.png": refused(
            png(RGB, RGB_TYPE, chunk(b"iTXt", b"a\0\1\0\0\0" + bomb)), too_much
        ),
        "text-checksum.png": refused(
            png(RGB, RGB_TYPE, chunk(b"tEXt", b"Comment\0hello", 1)), damaged("PNG")
        ),
    }


def _damaged() -> dict[str, Case]:
    whole = png(RGB, RGB_TYPE)
    data, end = zlib.compress(rows(RGB)), chunk(b"IEND", b"")
    few = zlib.compress(rows(RGB[:20]))
    flipped = bytes([*data[:900], data[900] ^ 255, *data[901:]])
    half = len(whole) // 2
    checksum = "damaged: the pixels do not match their checksum"
    return {
        **{f"cut-{length}.png": refused(whole[:length], TRUNCATED) for length in (8, 20, half)},
        "cut-end.png": refused(whole[:-12], TRUNCATED),
        "cut-checksum.png": refused(whole[:-14], TRUNCATED),
        "zeros-at-end.png": refused(whole[:half] + bytes(half), checksum),
        "checksum.png": refused(header(WIDTH, HEIGHT) + chunk(b"IDAT", data, 1) + end, checksum),
        "stream.png": refused(
            header(WIDTH, HEIGHT) + chunk(b"IDAT", flipped) + end, "cannot be decoded"
        ),
        # Known to pass: whoever wrote it wrote it so, every checksum is right. Black below.
        "few-rows.png": Case(header(WIDTH, HEIGHT) + chunk(b"IDAT", few) + end, picture=None),
        "no-pixels.png": refused(header(WIDTH, HEIGHT) + end, "cannot be decoded"),
        "zero-width.png": refused(header(0, HEIGHT) + end, damaged("PNG")),
        "bomb.png": refused(
            header(60_000, 60_000) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + end,
            TOO_MANY,
        ),
        "small-bomb.png": refused(
            header(13_350, 13_350) + chunk(b"IDAT", data) + end, "13350x13350 px is more than"
        ),
        "thin.png": refused(encode(Image.new("1", (20_000, 1)), "PNG"), "20000x1 px is too long"),
        "unknown-color.png": refused(
            header(WIDTH, HEIGHT, color=5) + chunk(b"IDAT", data) + end, damaged("PNG")
        ),
    }
