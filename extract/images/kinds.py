"""The kind of an image file, and whether it is complete; both are told by its content."""

import importlib
import io
import re
import struct
import threading
import zlib
from importlib.util import find_spec

from PIL import Image, UnidentifiedImageError, features

from headbench.extract.errors import UnusableImageError

# JPEG includes MPO, which many phones and cameras write: a JPEG followed by a second picture.
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
HEIC_NEEDS = 'HEIC needs another package: pip install "headbench[heic]"'
TEXT_CONTROLS = "\t\n\r\f"

_REGISTERING = threading.Lock()


def kind_of(data: bytes) -> str | None:
    """Pillow's name of the format, such as ``JPEG`` or ``HEIF``; None for an unknown one."""
    for kind, signature in SIGNATURES.items():
        if signature.match(data):
            return kind
    brands = _brands(data)
    if brands & AVIF_BRANDS:
        return "AVIF"
    return "HEIF" if brands & HEIF_BRANDS else None


def open_image(data: bytes) -> Image.Image:
    """Open an image file; its pixels are not decoded yet.

    Raises `UnusableImageError` if it is no image, is damaged or incomplete, or needs another
    package.
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
    """Whether a file that was refused for lack of a decoder can be read now."""
    if reason.startswith("AVIF"):
        return _reads_avif()
    return reason.startswith("HEIC") and find_spec("pillow_heif") is not None


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
    """What a file is, if it is no image."""
    if data.count(0) == len(data):
        return "contains only zero bytes"
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


TRUNCATED = "truncated: the file ends before the image does"
# In the scans of a JPEG a byte FF is followed by 00 (it was data), by D0-D7 (restart) or by FF.
MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
TEM, SOF_HUFFMAN, SOI, EOI, SOS = 0x01, (0xC0, 0xC1), 0xD8, 0xD9, 0xDA
STARTS_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
# libjpeg reads up to 8 bytes ahead, so with fewer it would ask for bytes that it does not use. It
# may take missing data from these: only the last block or two can be wrong without notice.
PAD = bytes(16)


def checked_jpeg(data: bytes) -> bytes:
    """The bytes of a JPEG in a form in which libjpeg reports missing data.

    At an end marker, libjpeg fills the missing rest with grey, and says so only in a warning that
    Pillow does not pass on. Without the marker it asks for more data, and Pillow raises an error.
    That works for the ordinary kind, one Huffman-coded scan. For progressive files and those with
    several scans, only the end marker is checked: if they were cut off and closed with a marker,
    they come out blurred. Zeros and other bytes in the middle look like data. Raises
    `UnusableImageError` if the end marker is missing. Other bytes may follow the image. Returns
    what Pillow should decode instead: the same image.
    """
    frame, scans, end_of_scan, position = None, 0, len(data), 2
    while found := MARKER.search(data, position):
        marker, position = found[1][0], found.end()
        if scans == 1:
            end_of_scan = min(end_of_scan, found.start())
        if marker == EOI:
            is_simple = scans == 1 and frame in SOF_HUFFMAN
            return data[:end_of_scan] + PAD if is_simple else data
        if marker in (TEM, SOI):
            continue
        if marker in STARTS_OF_FRAME and frame is None:
            frame = marker
        scans += marker == SOS
        position += int.from_bytes(data[position : position + 2], "big")
    raise UnusableImageError(TRUNCATED)


def check_png(data: bytes) -> None:
    """Refuse a PNG whose pixels do not match their checksums, or that has no end.

    Other bytes may follow the image.
    """
    view, position = memoryview(data), 8
    while position + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            break
        if (
            name == b"IDAT"
            and zlib.crc32(view[position + 4 : end]) != struct.unpack_from(">I", data, end)[0]
        ):
            raise UnusableImageError("damaged: the pixels do not match their checksum")
        if name == b"IEND":
            return
        position = end + 4
    raise UnusableImageError(TRUNCATED)
