import io
import itertools
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from headbench.extract.errors import UnusableImageError
from headbench.extract.images import decode as module
from headbench.extract.images.decode import decode
from headbench.extract.images.resizing import Resizing, shorter_side_px
from tests.data.corpus.case import encode, gradient
from tests.data.corpus.jpeg import oriented

RNG = np.random.default_rng(0)


def smooth(height: int, width: int) -> np.ndarray:
    return np.asarray(gradient(width, height))


def reference(image: Image.Image, size_px: int) -> np.ndarray:
    """What Pillow's own transpose and scale make of it, cropped in the middle."""
    upright = ImageOps.exif_transpose(image).convert("RGB")
    scale = shorter_side_px(size_px) / min(upright.size)
    resized = np.asarray(ImageOps.scale(upright, scale, Image.Resampling.BILINEAR))
    top, left = ((side - size_px) // 2 for side in resized.shape[:2])
    return resized[top : top + size_px, left : left + size_px].astype(int)


@pytest.mark.parametrize(("size_px", "shorter"), [(224, 256), (96, 110), (64, 73), (32, 37)])
def test_the_shorter_side_keeps_the_proportion_of_256_to_224(size_px: int, shorter: int) -> None:
    assert shorter_side_px(size_px) == shorter
    assert f"shorter side to {shorter} px" in Resizing(size_px).words


@pytest.mark.parametrize("shape", [(300, 400), (400, 300), (110, 110), (50, 70), (97, 301)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_pixels_are_those_of_pillow(shape: tuple[int, int], kind: str) -> None:
    data = encode(Image.fromarray(smooth(*shape)), kind)
    pixels = decode(data, 96)
    assert pixels.shape == (96, 96, 3)
    assert pixels.dtype == np.uint8
    expected = reference(Image.open(io.BytesIO(data)), 96)
    assert np.abs(pixels.astype(int) - expected).mean() < 1


def test_the_crop_is_central_and_exact_where_nothing_is_resized() -> None:
    image = RNG.integers(0, 256, (256, 300, 3), dtype=np.uint8)
    pixels = decode(encode(Image.fromarray(image), "PNG"), 224)
    np.testing.assert_array_equal(pixels, image[16:240, 38:262])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shape", [(240, 320), (113, 240)])
def test_every_exif_orientation_ends_upright(
    orientation: int, kind: str, shape: tuple[int, int]
) -> None:
    upright = Image.fromarray(smooth(*shape))
    stored, exif = oriented(orientation, upright)
    options = {} if kind == "TIFF" else {"quality": 95}
    pixels = decode(encode(stored, kind, exif=exif, **options), 96)
    assert np.abs(pixels.astype(int) - decode(encode(upright, "PNG"), 96)).mean() < 1.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_the_small_picture_is_turning_the_large_one(orientation: int) -> None:
    """To the pixel: 97 does not halve, so which side loses the odd one shows."""
    upright = Image.fromarray(RNG.integers(0, 256, (97, 111, 3), dtype=np.uint8))
    stored, exif = oriented(orientation, upright)
    expected = decode(encode(upright, "PNG"), 32).astype(int)
    assert np.abs(decode(encode(stored, "PNG", exif=exif), 32) - expected).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shape", [(1101, 1203), (887, 640), (501, 333)])
def test_a_jpeg_decoded_at_reduced_scale_is_not_shifted(
    orientation: int, shape: tuple[int, int]
) -> None:
    stored, exif = oriented(orientation, Image.fromarray(smooth(*shape)))
    data = encode(stored, "JPEG", quality=95, exif=exif)
    difference = decode(data, 32) - reference(Image.open(io.BytesIO(data)), 32)
    assert np.abs(difference.mean(axis=(0, 1))).max() < 0.6


def test_alpha_is_put_on_white() -> None:
    rgba = np.zeros((64, 64, 4), dtype=np.uint8)
    rgba[:, :32] = (255, 0, 0, 255)
    rgba[:, 32:] = (0, 0, 255, 0)
    pixels = decode(encode(Image.fromarray(rgba), "PNG"), 56)
    np.testing.assert_array_equal(pixels[28, 5], (255, 0, 0))
    np.testing.assert_array_equal(pixels[28, -5], (255, 255, 255))


@pytest.mark.parametrize(
    ("mode", "value"),
    [
        *itertools.product(["L", "P", "LA", "CMYK", "RGBA", "I;16"], [0, 90, 255]),
        *itertools.product(["1"], [0, 255]),
    ],
)
def test_grey_is_the_same_grey_in_every_mode(mode: str, value: int) -> None:
    grey = Image.fromarray(np.full((40, 40), value, dtype=np.uint8))
    if mode == "I;16":
        image = Image.fromarray(np.full((40, 40), value * 257, dtype=np.uint16))
    else:
        image = grey.convert("RGB").convert(mode) if mode == "CMYK" else grey.convert(mode)
    data = encode(image, "JPEG", quality=100) if mode == "CMYK" else encode(image, "PNG")
    np.testing.assert_allclose(decode(data, 32), value, atol=2)


@pytest.mark.parametrize("keep", [0, 1, 20, 200, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_truncated_file_is_refused_and_never_filled_in(keep: float, kind: str) -> None:
    data = encode(Image.fromarray(RNG.integers(0, 256, (99, 99, 3), dtype=np.uint8)), kind)
    length = int(keep * len(data)) if 0 < keep < 1 else int(keep)
    with pytest.raises(UnusableImageError):
        decode(data[:length], 32)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"hello, I am text", "text, not an image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "truncated"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "truncated"),
        (encode(Image.new("RGB", (9, 9)), "PCX"), "not an image file of a known kind"),
        (encode(Image.new("1", (2000, 3)), "PNG"), "2000x3 px is too long and thin"),
    ],
)
def test_what_cannot_be_used_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(UnusableImageError, match=reason):
        decode(data, 32)


def test_whatever_a_decoder_stumbles_over_is_a_reason_and_never_a_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stumble(*_: object, **__: object) -> None:
        raise SyntaxError("broken header")

    monkeypatch.setattr(Image.Image, "resize", stumble)
    with pytest.raises(UnusableImageError, match="cannot be decoded: broken header"):
        decode(encode(Image.new("RGB", (40, 40)), "PNG"), 32)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(UnusableImageError, match="10x10 px is more than 99 pixels"):
        decode(encode(Image.new("RGB", (10, 10)), "PNG"), 32, 99)


def test_one_large_image_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one is decoded a second large one waits, and a small one does not."""
    monkeypatch.setattr(module, "LARGE_PIXELS", 99)
    small, large = (encode(Image.new("RGB", (side, side)), "PNG") for side in (9, 10))
    thread = threading.Thread(target=decode, args=(large, 8))
    with module._ONE_LARGE:
        thread.start()
        decode(small, 8)
        thread.join(0.2)
        assert thread.is_alive()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.real
@pytest.mark.parametrize("size_px", [224, 96, 64, 48, 32])
def test_real_photographs_agree_with_pillow(shared: Path, size_px: int) -> None:
    """Each, not their mean; at 64 px and less they are decoded at 1/2 and 1/4."""
    for path in sorted((shared / "data/food10/images").glob("*/*.jpg"))[::16]:
        pixels = decode(path.read_bytes(), size_px)
        expected = reference(Image.open(path), size_px)
        assert np.abs(pixels.astype(int) - expected).mean() < 1, path
