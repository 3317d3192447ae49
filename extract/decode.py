"""File bytes to pixels: upright RGB, resized and cropped. One function for every stage."""

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from extract.errors import UnusableImageError

# JPEG takes in MPO too, what many phones and cameras write: a JPEG followed by a second picture.
FORMATS = ("JPEG", "PNG")
MAX_PIXELS = 178_000_000
MAX_ASPECT = 100
# We refuse bombs ourselves, by MAX_PIXELS, so Pillow need not warn from half of that on.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def shorter_side_px(size_px: int) -> int:
    """Length of the shorter side before the crop: 256 for 224, others in proportion."""
    return round(size_px * 256 / 224)


def resize_rule(size_px: int) -> str:
    """What `decode` does, in words; part of the fingerprint, so change it when `decode` changes."""
    return (
        "EXIF orientation applied; alpha on white; RGB; "
        f"shorter side to {shorter_side_px(size_px)} px, antialiased bilinear (Pillow); "
        f"centre crop {size_px}x{size_px} px"
    )


def decode(data: bytes, size_px: int) -> NDArray[np.uint8]:
    """Decode one image file.

    Parameters
    ----------
    data : bytes
        A whole JPEG or PNG file.
    size_px : int
        Height and width of the result.

    Returns
    -------
    uint8 (size_px, size_px, 3)
        RGB, 0-255, upright.

    Raises
    ------
    UnusableImageError
        If it cannot be decoded whole, is larger than 178 million pixels, or is more than 100 times
        longer than wide.
    """
    if not data:
        raise UnusableImageError("empty file")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_shape(image.width, image.height)
        return _resize_and_crop(_to_rgb(_upright(image)), size_px)
    except UnusableImageError:
        raise
    except UnidentifiedImageError:
        raise UnusableImageError("not a JPEG or PNG file") from None
    except Exception as error:
        # Decoders raise whatever a broken file makes them stumble over (OSError, ValueError,
        # SyntaxError, struct.error, ...). One bad image must not stop a run, so each is a reason.
        raise UnusableImageError(f"cannot be decoded: {error}") from error


def _check_shape(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnusableImageError(f"{width}x{height} px is more than {MAX_PIXELS} pixels")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise UnusableImageError(f"{width}x{height} px is too long and thin to crop")


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    return ImageOps.exif_transpose(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # 16-bit greyscale: Pillow's own conversion clips at 255 instead of scaling.
        scaled = np.asarray(image).astype(np.float32) / 257
        image = Image.fromarray(scaled.round().clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        image = Image.new("RGBA", image.size, "white")
        image.alpha_composite(with_alpha)
    return image.convert("RGB")


def _resize_and_crop(image: Image.Image, size_px: int) -> NDArray[np.uint8]:
    scale = shorter_side_px(size_px) / min(image.size)
    width, height = (max(size_px, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size_px) // 2, (height - size_px) // 2
    return np.asarray(image.crop((left, top, left + size_px, top + size_px)))
