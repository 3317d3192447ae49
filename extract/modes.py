"""Pixels of every mode to RGB on white, at the least cost: what can wait is done when small."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def resizable(image: Image.Image) -> Image.Image:
    """In a mode whose resized pixels are those of the picture resized: L, RGB, premultiplied RGBa.

    Alpha is premultiplied because it is put on white when the image is small.
    """
    if image.mode.startswith("I;16"):
        return _from_16_bits(image)
    if image.has_transparency_data:
        return _in_mode(_in_mode(image, "RGBA"), "RGBa")
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def on_white(image: Image.Image) -> NDArray[np.uint8]:
    """RGB (height, width, 3) of an image that `resizable` gave, resized or not."""
    if image.mode != "RGBa":
        return np.asarray(image.convert("RGB"))
    pixels = np.asarray(image).astype(np.uint16)
    white = 255 - pixels[..., 3:]
    return (pixels[..., :3] + white).clip(max=255).astype(np.uint8)


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    # Pillow's convert copies even where there is nothing to convert.
    return image if image.mode in (mode, "RGBa") else image.convert(mode)


def _from_16_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits to 8: Pillow's own conversion clips at 255 instead of scaling."""
    pixels = np.array(image, dtype=np.uint16)
    if isinstance(transparent := image.info.get("transparency"), int):
        pixels[pixels == transparent] = 65535
    # Exactly round(pixels / 257), in place: floats would take twice the memory.
    np.minimum(pixels, 65535 - 128, out=pixels)
    pixels += 128
    pixels //= 257
    return Image.fromarray(pixels.astype(np.uint8))
