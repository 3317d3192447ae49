"""Damage that Pillow lets pass: a JPEG filled in with grey, a PNG that its checksums deny."""

import re
import struct
import zlib

from extract.errors import UnusableImageError

TRUNCATED = "truncated: the file ends before the image does"
# In the scans of a JPEG a byte FF is followed by 00 (it was data), by D0-D7 (restart) or by FF.
MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
TEM, SOF_HUFFMAN, SOI, EOI, SOS = 0x01, (0xC0, 0xC1), 0xD8, 0xD9, 0xDA
STARTS_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
# libjpeg looks up to 8 bytes ahead, so with fewer it would miss bytes that it does not use. What
# is missing may be taken from these: the last block or two are all that can be wrong unnoticed.
PAD = bytes(16)


def checked_jpeg(data: bytes) -> bytes:
    """Make libjpeg complain where it would fill in.

    It takes the marker at the end for "the rest is lost: fill it with grey", and says so only in a
    warning that Pillow does not hand on. Without the marker it asks for more data, and Pillow
    raises. That works for the ordinary kind, one Huffman-coded scan. Of progressive files, and of
    those with several scans, all that is checked is that the end is there: cut off and then closed
    with a marker, they come out blurred. Zeros and other bytes in the middle look like data.

    Parameters
    ----------
    data : bytes
        A JPEG file, perhaps followed by other bytes.

    Returns
    -------
    bytes
        What Pillow is to decode in its place: the same image.

    Raises
    ------
    UnusableImageError
        If its end is not there.
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

    Parameters
    ----------
    data : bytes
        A PNG file, perhaps followed by other bytes.
    """
    view, position = memoryview(data), 8
    while position + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            break
        if name == b"IDAT" and zlib.crc32(view[position + 4 : end]) != _uint32(data, end):
            raise UnusableImageError("damaged: the pixels do not match their checksum")
        if name == b"IEND":
            return
        position = end + 4
    raise UnusableImageError(TRUNCATED)


def _uint32(data: bytes, position: int) -> int:
    return int.from_bytes(data[position : position + 4], "big")
