import io

import numpy as np
import pytest
from PIL import Image

from headbench.extract.errors import UnusableImageError
from headbench.extract.images.kinds import check_png, checked_jpeg
from tests.data.corpus.case import PICTURE, encode

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
EOI = b"\xff\xd9"


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("image", [PICTURE, NOISE, Image.new("L", (1, 1))])
@pytest.mark.parametrize(
    "options", [{}, {"subsampling": 0}, {"optimize": True}, {"restart_marker_rows": 1}]
)
@pytest.mark.parametrize("more", [b"", b"text", EOI * 9])
def test_what_is_decoded_in_place_of_a_jpeg_is_the_same_image(
    image: Image.Image, options: dict, more: bytes
) -> None:
    data = encode(image, "JPEG", **options)
    np.testing.assert_array_equal(pixels(checked_jpeg(data + more)), pixels(data))


def test_a_scan_that_ends_early_is_found_out_but_in_its_very_last_blocks() -> None:
    data = encode(NOISE, "JPEG", quality=95)
    scan = data.index(b"\xff\xda") + 14
    for end in range(scan, len(data) - 150, 97):
        closed = data[:end].rstrip(b"\xff") + EOI
        with pytest.raises(OSError, match="truncated"):
            pixels(checked_jpeg(closed))


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_jpeg_without_its_end_is_refused(options: dict) -> None:
    data = encode(NOISE, "JPEG", **options)
    for end in (2, 40, len(data) // 2, len(data) - 2, len(data) - 1):
        with pytest.raises(UnusableImageError, match="truncated"):
            checked_jpeg(data[:end] + bytes(999))


def test_a_png_is_held_to_the_checksums_of_its_pixels() -> None:
    data = encode(NOISE, "PNG")
    check_png(data + b"more")
    start, end = data.index(b"IDAT") + 4, data.index(b"IEND") - 8
    for position in range(start, end, 997):
        flipped = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        with pytest.raises(UnusableImageError, match="do not match their checksum"):
            check_png(flipped)
