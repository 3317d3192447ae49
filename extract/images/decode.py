"""Bytes of an image file to RGB uint8, upright, on white, resized: one function for all stages."""

import ctypes
import logging
import threading
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, _imaging

from headbench.extract.errors import TooLargeError, UnusableImageError
from headbench.extract.images.kinds import TRUNCATED, open_image
from headbench.extract.images.resizing import PADDING, Resizing, as_resizing
from headbench.extract.settings import CROP, NONE


def silence_pillow() -> None:
    """Keep decoders from writing to the terminal during a run; one call is enough.

    All three settings hold for the whole process: files are decoded in several threads, and none of
    the three can be set for one thread, nor can the filters of `warnings.catch_warnings`.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    # libtiff writes to standard error by itself. Its switch is found through Pillow's own module,
    # which is linked to it; where it is not found, libtiff keeps writing, and no harm is done.
    libraries = ctypes.CDLL(_imaging.__file__)
    for switch in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        if hasattr(libraries, switch):
            getattr(libraries, switch)(None)


def resizable(image: Image.Image) -> Image.Image:
    """The image in a mode whose pixels can be resized: L, RGB, or RGBa with premultiplied alpha.

    Alpha is premultiplied because white is put behind the image after it was resized.
    """
    if image.mode.startswith("I;16"):
        return _from_16_bits(image)
    if image.has_transparency_data:
        return _in_mode(_in_mode(image, "RGBA"), "RGBa")
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def on_white(image: Image.Image) -> NDArray[np.uint8]:
    """RGB pixels, uint8 (height, width, 3), of an image from `resizable`, resized or not."""
    if image.mode != "RGBa":
        return np.asarray(image.convert("RGB"))
    pixels = np.asarray(image).astype(np.uint16)
    white = 255 - pixels[..., 3:]
    return (pixels[..., :3] + white).clip(max=255).astype(np.uint8)


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    # Pillow's convert copies even where there is nothing to convert.
    return image if image.mode in (mode, "RGBa") else image.convert(mode)


def _from_16_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits to 8 bits: Pillow's own conversion clips at 255 instead of scaling."""
    pixels = np.array(image, dtype=np.uint16)
    if isinstance(transparent := image.info.get("transparency"), int):
        pixels[pixels == transparent] = 65535
    # Exactly round(pixels / 257), in place: floats would take twice the memory.
    np.minimum(pixels, 65535 - 128, out=pixels)
    pixels += 128
    pixels //= 257
    return Image.fromarray(pixels.astype(np.uint8))


MAX_PIXELS = 178_000_000
MAX_ASPECT = 100
# Decoding takes 4 bytes a pixel, at times twice: of images larger than this one at a time.
LARGE_PIXELS = 25_000_000
# Upright is the stored picture after this; in which of its axes does it run backwards, x and y?
UPRIGHT: dict[int | None, tuple[Image.Transpose | None, bool, bool]] = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT, True, False),
    3: (Image.Transpose.ROTATE_180, True, True),
    4: (Image.Transpose.FLIP_TOP_BOTTOM, False, True),
    5: (Image.Transpose.TRANSPOSE, False, False),
    6: (Image.Transpose.ROTATE_270, False, True),
    7: (Image.Transpose.TRANSVERSE, True, True),
    8: (Image.Transpose.ROTATE_90, True, False),
}
AS_STORED = (None, False, False)

_ONE_LARGE = threading.Lock()
silence_pillow()


def decode(
    data: bytes,
    resizing: Resizing | int,
    max_pixels: int = MAX_PIXELS,
    max_held: int = MAX_PIXELS,
) -> NDArray[np.uint8]:
    """Decode one image file.

    Colour profiles are not applied: networks are trained without them. Of an animation or a file
    with several pages, the first picture is used. Raises `UnusableImageError` if it cannot be
    decoded completely, has 32 bits per channel, is more than 100 times longer than wide, or has
    another size than the rule ``none`` takes; `TooLargeError`, before its pixels are decoded, if
    there are too many.

    Parameters
    ----------
    data : bytes
        A whole file: JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF; HEIC if pillow-heif is installed.
    resizing : Resizing or int
        From the picture to the square; an int is the size of the default rule.
    max_pixels, max_held : int
        Most pixels of the picture, and most pixels in memory at once: a large JPEG is decoded
        smaller.

    Returns
    -------
    uint8 (size_px, size_px, 3)
        RGB, 0-255, upright.
    """
    if not data:
        raise UnusableImageError("empty file")
    try:
        image = open_image(data)
        resizing = as_resizing(resizing)
        _check(image, resizing, max_pixels)
        return _framed(on_white(_upright(image, resizing, max_held)), resizing.size_px)
    except UnusableImageError:
        raise
    except Image.DecompressionBombError:
        raise UnusableImageError(f"more than {MAX_PIXELS} pixels") from None
    except Exception as error:
        # A damaged file makes decoders raise anything (OSError, ValueError, SyntaxError,
        # struct.error, ...). One bad image must not stop a run, so each error is a reason.
        raise UnusableImageError(_describe(error)) from error


def _describe(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return TRUNCATED if "truncated" in text.lower() else f"cannot be decoded: {text}"


def _check(image: Image.Image, resizing: Resizing, max_pixels: int) -> None:
    width, height = image.size
    if width * height == 0:
        raise UnusableImageError(f"{width}x{height} px holds no pixels")
    if width * height > max_pixels:
        raise TooLargeError(f"{width}x{height} px is more than {max_pixels} pixels")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise UnusableImageError(f"{width}x{height} px is too long and thin")
    if resizing.rule == NONE and {width, height} != {resizing.size_px}:
        raise UnusableImageError(f"{width}x{height} px: {resizing.only}")
    if image.mode in ("I", "F"):
        raise UnusableImageError(
            "32 bits per channel: their white is not defined. Convert it to 8 or 16 bits"
        )


def _room_for(
    image: Image.Image, size: tuple[int, int], max_held: int
) -> AbstractContextManager[object]:
    # Of a progressive JPEG all coefficients are held, at whatever scale it is decoded.
    width, height = size if image.info.get("progressive") else image.size
    if width * height > max_held:
        raise TooLargeError(f"{width}x{height} px in memory are more than {max_held} pixels")
    return _ONE_LARGE if width * height > LARGE_PIXELS else nullcontext()


def _upright(image: Image.Image, resizing: Resizing, max_held: int) -> Image.Image:
    """What is left of an image, L, RGB or RGBa; turned last, when few pixels are left to turn."""
    size = image.size
    reduced = image.draft(None, resizing.least(size))  # None except for JPEG
    with _room_for(image, size, max_held):
        image.load()
        # Loaded, a TIFF is upright already: its sides may have been swapped.
        size = size if reduced else image.size
        _, _, right, bottom = reduced[1] if reduced else (0, 0, *image.size)
        turn, *is_backwards = _way_upright(image)
        box = _box(resizing, size, (right, bottom), is_backwards)
        resized = resizable(image).resize(resizing.fitted(size), Image.Resampling.BILINEAR, box=box)
        image.close()  # its memory goes before the next large one may come
    return resized if turn is None else resized.transpose(turn)


def _box(
    resizing: Resizing,
    size: tuple[int, int],
    extent: tuple[float, float],
    is_backwards: Sequence[bool],
) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the part that is kept, in pixels of the decoded picture."""
    if resizing.rule != CROP:
        return (0, 0, *extent)
    scale = resizing.shorter_px / min(size)
    (left, right), (top, bottom) = (
        _middle(side * scale, length, resizing.size_px, is_turned)
        for side, length, is_turned in zip(size, extent, is_backwards, strict=True)
    )
    return left, top, right, bottom


def _middle(
    length_px: float, extent: float, size_px: int, is_backwards: bool
) -> tuple[float, float]:
    """Start and end of the crop on an axis of `extent` that is resized to `length_px`."""
    resized = max(size_px, round(length_px))
    # An odd pixel is cut off at the end of the upright picture, wherever that is stored.
    start = (resized - size_px + is_backwards) // 2
    return start / resized * extent, (start + size_px) / resized * extent


def _framed(pixels: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """Pixels in the middle of a square in the colour `PADDING`, where they do not fill it."""
    height, width, _ = pixels.shape
    if (height, width) == (size_px, size_px):
        return pixels
    top, left = (size_px - height) // 2, (size_px - width) // 2
    square = np.full((size_px, size_px, 3), PADDING, np.uint8)
    square[top : top + height, left : left + width] = pixels
    return square


def orientation(image: Image.Image) -> int | None:
    """The orientation in EXIF, 1 to 8 if it is valid; None without one."""
    try:
        found: int | None = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:
        # Damaged EXIF counts as none: every viewer shows such a photograph as it is stored.
        return None
    return found


def _way_upright(image: Image.Image) -> tuple[Image.Transpose | None, bool, bool]:
    return UPRIGHT.get(orientation(image), AS_STORED)
