"""The rules of resizing: pixels against Pillow's own, and the words that name a rule."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps

from headbench.cache.format import Identity
from headbench.extract.errors import DataError, UnusableImageError
from headbench.extract.images.decode import decode
from headbench.extract.images.resizing import Resizing, resizing_of
from headbench.extract.settings import LETTERBOX, NONE, RESIZES, SQUASH
from tests.data.corpus.case import encode, gradient
from tests.data.corpus.jpeg import jpeg, oriented

RNG = np.random.default_rng(0)
MEAN_OF_IMAGENET = (124, 116, 104)
WHOLE = [SQUASH, LETTERBOX]


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8))


def by_hand(image: Image.Image, size_px: int, rule: str) -> np.ndarray:
    """What Pillow's own transpose, resize and paste make of it."""
    upright = ImageOps.exif_transpose(image).convert("RGB")
    if rule == SQUASH:
        return np.asarray(upright.resize((size_px, size_px), Image.Resampling.BILINEAR))
    sides = [max(1, round(side * size_px / max(upright.size))) for side in upright.size]
    square = Image.new("RGB", (size_px, size_px), MEAN_OF_IMAGENET)
    resized = upright.resize(sides, Image.Resampling.BILINEAR)
    square.paste(resized, [(size_px - side) // 2 for side in sides])
    return np.asarray(square)


@pytest.mark.parametrize("rule", WHOLE)
@pytest.mark.parametrize("size", [(190, 170), (180, 60), (33, 33), (20, 31), (2, 190)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_whole_pictures_are_those_of_pillow(rule: str, size: tuple[int, int], kind: str) -> None:
    data = encode(noise(*size), kind)
    pixels = decode(data, Resizing(33, rule))
    np.testing.assert_array_equal(pixels, by_hand(Image.open(io.BytesIO(data)), 33, rule))


@pytest.mark.parametrize("rule", WHOLE)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_whole_pictures_end_upright_to_the_pixel(rule: str, orientation: int) -> None:
    """100 x 110 in 32 leaves an odd number of columns: which side gets the larger frame shows."""
    upright = noise(100, 110)
    stored, exif = oriented(orientation, upright)
    pixels = decode(encode(stored, "PNG", exif=exif), Resizing(32, rule))
    expected = by_hand(upright, 32, rule).astype(int)
    assert np.abs(pixels - expected).max() <= 1


def test_the_side_that_shrinks_least_decides_how_a_jpeg_is_reduced() -> None:
    """At 1/8 the 200 rows of a panorama would be 25, and enlarged again."""
    data = jpeg(noise(3000, 200))
    expected = by_hand(Image.open(io.BytesIO(data)), 64, SQUASH)
    np.testing.assert_array_equal(decode(data, Resizing(64, SQUASH)), expected)


@pytest.mark.parametrize("rule", WHOLE)
@pytest.mark.parametrize("size", [(1603, 1200), (1101, 1300)])
def test_reduced_whole_pictures_are_not_shifted(rule: str, size: tuple[int, int]) -> None:
    data = jpeg(gradient(*size))
    difference = decode(data, Resizing(64, rule)) - by_hand(
        Image.open(io.BytesIO(data)), 64, rule
    ).astype(int)
    assert 0 < np.abs(difference).mean() < 1
    assert np.abs(difference.mean(axis=(0, 1))).max() < 0.6


def test_alpha_is_put_on_white_and_the_frame_around_it_is_not_white() -> None:
    clear = Image.new("RGBA", (64, 32), (0, 0, 255, 0))
    pixels = decode(encode(clear, "PNG"), Resizing(32, LETTERBOX))
    assert (pixels[8:24] == 255).all()
    assert (pixels[:8] == MEAN_OF_IMAGENET).all()
    assert (pixels[24:] == MEAN_OF_IMAGENET).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_without_resizing_pixels_are_those_of_the_file(orientation: int) -> None:
    upright = noise(32, 32)
    stored, exif = oriented(orientation, upright)
    data = encode(stored, "PNG", exif=exif)
    np.testing.assert_array_equal(decode(data, Resizing(32, NONE)), np.asarray(upright))


@pytest.mark.parametrize("size", [(32, 33), (33, 32), (64, 64), (16, 16)])
def test_without_resizing_another_size_is_refused_and_named(size: tuple[int, int]) -> None:
    expected = f"{size[0]}x{size[1]} px: --resize none takes pictures of 32x32 px only"
    with pytest.raises(UnusableImageError, match=expected):
        decode(encode(noise(*size), "PNG"), Resizing(32, NONE))


def test_a_refusal_for_size_holds_only_for_the_same_rule_and_size() -> None:
    for rule, size_px, holds in ((NONE, 32, True), (NONE, 64, False), (SQUASH, 32, False)):
        reason = f"9x9 px: {Resizing(32, NONE).only}"
        assert Resizing(size_px, rule).still_refuses(reason) is holds
        assert Resizing(size_px, rule).still_refuses("empty file")


def identity(resize: str) -> Identity:
    return Identity("mean-color", "none", "none", 48, resize, "avg", "float32")


@pytest.mark.parametrize("rule", RESIZES)
def test_a_rule_is_found_by_its_words(rule: str) -> None:
    assert resizing_of(identity(Resizing(48, rule).words)) == Resizing(48, rule)


def test_the_words_of_another_version_are_no_rule_of_this_one() -> None:
    with pytest.raises(DataError, match=r"lacks: 'nearest'.*--overwrite"):
        resizing_of(identity("nearest"))
    # The rule of another size is another rule.
    with pytest.raises(DataError):
        resizing_of(replace(identity(Resizing(48, SQUASH).words), size_px=49))


def test_the_fingerprint_of_the_default_rule_is_that_of_files_that_exist() -> None:
    made = Identity("resnet50", "none", "caffe", 224, Resizing(224).words, "avg", "float32")
    assert made.fingerprint == "2a8cd5989f7c312ff721ed0123bc2696e2d4cad4c38929babc476823ebb53bc4"


@pytest.mark.parametrize(("rule", "size_px"), [*zip(RESIZES, [256, 256, 256, 224], strict=True)])
def test_augmentation_gets_a_larger_square_by_the_same_rule(rule: str, size_px: int) -> None:
    assert Resizing(224, rule).enlarged() == Resizing(size_px, rule)
