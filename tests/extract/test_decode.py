import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from extract import decode as module
from extract.decode import decode, resize_rule, shorter_side_px
from extract.errors import UnusableImageError

RNG = np.random.default_rng(0)


def smooth(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Pixels that JPEG keeps well: every corner another colour."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [255 * x / width, 255 * y / height, 255 * (x + y) / (width + height)]
    return np.stack(planes[:channels], axis=-1).astype(np.uint8)


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


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
    assert f"shorter side to {shorter} px" in resize_rule(size_px)


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
    pixels = decode(encode(Image.fromarray(image)), 224)
    np.testing.assert_array_equal(pixels, image[16:240, 38:262])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_ends_upright(orientation: int) -> None:
    upright = Image.fromarray(smooth(240, 320))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode(encode(stored, "JPEG", quality=95, exif=exif), 96)
    assert np.abs(pixels.astype(int) - decode(encode(upright), 96)).mean() < 1.5


def test_alpha_is_put_on_white() -> None:
    rgba = np.zeros((64, 64, 4), dtype=np.uint8)
    rgba[:, :32] = (255, 0, 0, 255)
    rgba[:, 32:] = (0, 0, 255, 0)
    pixels = decode(encode(Image.fromarray(rgba)), 56)
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
    data = encode(image, "JPEG", quality=100) if mode == "CMYK" else encode(image)
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
        (b"hello, I am text", "not a JPEG or PNG file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "not a JPEG or PNG file|cannot be decoded"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "not a JPEG or PNG file|cannot be decoded"),
        (encode(Image.new("RGB", (9, 9)), "GIF"), "not a JPEG or PNG file"),
        (encode(Image.new("1", (2000, 3))), "2000x3 px is too long and thin"),
    ],
)
def test_what_cannot_be_used_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(UnusableImageError, match=reason):
        decode(data, 32)


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PIXELS", 99)
    with pytest.raises(UnusableImageError, match="10x10 px is more than 99 pixels"):
        decode(encode(Image.new("RGB", (10, 10))), 32)


@pytest.mark.real
def test_real_photographs_agree_with_pillow(shared: Path) -> None:
    for path in sorted((shared / "data/food10/images").glob("*/*.jpg"))[::80]:
        pixels = decode(path.read_bytes(), 224)
        expected = reference(Image.open(path), 224)
        assert np.abs(pixels.astype(int) - expected).mean() < 1, path
