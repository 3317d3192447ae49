"""Which kind of image file is it? Told by its content, because names lie."""

import importlib
import io
import re
import threading
from importlib.util import find_spec

from PIL import Image, UnidentifiedImageError, features

from extract.errors import UnusableImageError
from extract.intact import check_png, checked_jpeg

# JPEG takes in MPO, what many phones and cameras write: a JPEG followed by a second picture.
SIGNATURES = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WEBP": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "BMP": re.compile(rb"BM"),
    "GIF": re.compile(rb"GIF8[79]a"),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]"),
}
# ISO media files name their brands in the first box.
MEDIA_BOX = re.compile(rb".{4}ftyp", re.DOTALL)
AVIF_BRANDS = {b"avif", b"avis"}
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
HTML = re.compile(rb"<(!doctype\s+html|html|head|body)\b", re.IGNORECASE)
AVIF_NEEDS = "AVIF needs a newer Pillow: pip install --upgrade pillow"
HEIC_NEEDS = "HEIC needs one more package: make install EXTRAS=heic"
TEXT_CONTROLS = "\t\n\r\f"

_REGISTERING = threading.Lock()


def kind_of(data: bytes) -> str | None:
    """Pillow's name of the format, ``JPEG`` or ``HEIF`` say; None if it is none that we know."""
    for kind, signature in SIGNATURES.items():
        if signature.match(data):
            return kind
    brands = _brands(data)
    if brands & AVIF_BRANDS:
        return "AVIF"
    return "HEIF" if brands & HEIF_BRANDS else None


def open_image(data: bytes) -> Image.Image:
    """Open an image file; its pixels are not decoded yet.

    Raises
    ------
    UnusableImageError
        If it is no image, or its header cannot be read, or it is not all there; or it could be read
        with another package.
    """
    kind = kind_of(data)
    if kind is None:
        raise UnusableImageError(_describe(data))
    _require_decoder(kind)
    if kind == "PNG":
        check_png(data)
    file = io.BytesIO(checked_jpeg(data) if kind == "JPEG" else data)
    try:
        return Image.open(file, formats=[kind])
    except UnidentifiedImageError:
        raise UnusableImageError(
            f"cannot be decoded: this {kind} file is damaged or cut off"
        ) from None


def _brands(data: bytes) -> set[bytes]:
    if not MEDIA_BOX.match(data):
        return set()
    # An unknown length, 0 or 1, still has one brand; no real file has more than a few.
    end = min(max(int.from_bytes(data[:4], "big"), 12), 256)
    return {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}


def may_be_read_now(reason: str) -> bool:
    """Whether a file that was once refused for want of a decoder has one by now."""
    if reason == AVIF_NEEDS:
        return _reads_avif()
    return reason == HEIC_NEEDS and find_spec("pillow_heif") is not None


def _reads_avif() -> bool:
    return "avif" in features.get_supported_modules()


def _require_decoder(kind: str) -> None:
    if kind == "AVIF" and not _reads_avif():
        raise UnusableImageError(AVIF_NEEDS)
    if kind == "HEIF":
        _register_heif()


def _register_heif() -> None:
    with _REGISTERING:
        if "HEIF" in Image.OPEN:
            return
        try:
            importlib.import_module("pillow_heif").register_heif_opener()
        except ImportError:
            raise UnusableImageError(HEIC_NEEDS) from None


def _describe(data: bytes) -> str:
    """What a file is that is no image."""
    if data.count(0) == len(data):
        return "nothing but zero bytes"
    if not _is_text(data[:1024]):
        return f"not an image file of a known kind ({', '.join(SIGNATURES)}, AVIF, HEIC)"
    return "an HTML page, not an image" if HTML.search(data[:1024]) else "text, not an image"


def _is_text(start: bytes) -> bool:
    # A character may be cut in two at the end: up to three bytes of it are left out.
    for cut in range(4):
        try:
            text = start[: len(start) - cut].decode("utf-8-sig")
        except UnicodeDecodeError:
            continue
        return text != "" and all(
            letter.isprintable() or letter in TEXT_CONTROLS for letter in text
        )
    return False
