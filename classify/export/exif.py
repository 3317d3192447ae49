"""Which way is up? EXIF and XMP of JPEG and PNG files, read in a TensorFlow graph as Pillow does.

The files are string tensors: the functions at the top take them apart.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from headbench.extract.networks.keras_runtime import load_tensorflow

tf = load_tensorflow()

EXIF_START = b"Exif\0\0"
XMP_START = b"http://ns.adobe.com/xap/1.0/\0"
XMP_KEYWORD = b"XML:com.adobe.xmp\0"
RAW_PROFILE = b"Raw profile type exif\0"
ORIENTATION_TAG = 0x0112
SHORT, LONG = 3, 4
TIFF_STARTS = {b"II*\0": False, b"II\0*": False, b"MM\0*": True, b"MM*\0": True}
# \C is any byte: what stands around the number need not be text.
XMP_ORIENTATION = r'^\C*?tiff:Orientation(?:="|>)([0-9])\C*$'
AS_STORED, UNKNOWN = 1, 0
FIRST_FREE, LAST_FREE = 0xD0, 0xD9  # markers of JPEG that no length follows
APP1, START_OF_SCAN = 0xE1, 0xDA


def text_at(data: Any, position: Any, n_bytes: Any) -> Any:
    """A piece of a string tensor (), shorter or empty where the string ends before it does."""
    length = tf.strings.length(data)
    # substr raises an error for a start past the end.
    start = tf.clip_by_value(position, 0, length)
    return tf.strings.substr(data, start, tf.clip_by_value(n_bytes, 0, length - start))


def number_at(data: Any, position: Any, n_bytes: int, is_big_endian: Any = True) -> Any:
    """A whole number, int32 tensor (), zeros where the string has ended.

    One of four bytes with its first bit set comes out negative.
    """
    piece = text_at(data, position, n_bytes) + bytes(n_bytes)
    numbers = tf.cast(tf.io.decode_raw(text_at(piece, 0, n_bytes), tf.uint8), tf.int32)
    ordered = tf.where(is_big_endian, numbers, tf.reverse(numbers, [0]))
    places = [8 * each for each in reversed(range(n_bytes))]
    return tf.reduce_sum(tf.bitwise.left_shift(ordered, places))


def require(is_right: Any, otherwise: str) -> Any:
    """A context whose tensors are computed only if a bool tensor () is true.

    Raises, when the graph runs, ``InvalidArgumentError`` with the text.
    """
    return tf.control_dependencies([tf.debugging.Assert(is_right, [otherwise])])


class Metadata(NamedTuple):
    """What a file says of itself; empty where it says nothing.

    Attributes
    ----------
    exif : string tensor ()
        A TIFF file, without ``Exif`` before it.
    xmp : string tensor ()
    is_keyed : bool tensor ()
        Of a PNG: whether colours of its palette, or one of all colours, are transparent.
    """

    exif: Any
    xmp: Any
    is_keyed: Any


def jpeg_metadata(data: Any) -> Metadata:
    """Metadata of a JPEG file, string tensor (); several segments of EXIF are one."""

    def is_header(position: Any, _: Any) -> Any:
        is_scan = number_at(data, position, 2) == 0xFF00 + START_OF_SCAN
        return (position + 4 <= tf.strings.length(data)) & ~is_scan

    def step(position: Any, found: Metadata) -> Any:
        start, marker = number_at(data, position, 1), number_at(data, position + 1, 1)
        is_bare = (marker == 0) | ((marker >= FIRST_FREE) & (marker <= LAST_FREE))
        length = number_at(data, position + 2, 2)
        skipped = tf.where(is_bare, 2, 2 + tf.maximum(length, 2))
        # Bytes between segments are skipped one by one, as are those that only fill.
        is_filling = (start != 0xFF) | (marker == 0xFF)
        content = text_at(data, position + 4, length - 2)
        is_app1 = ~is_filling & (marker == APP1)
        exif = tf.where(is_app1 & _begins(content, EXIF_START), _after(content, EXIF_START), "")
        has_xmp = is_app1 & _begins(content, XMP_START)
        xmp = tf.where(has_xmp, _after(content, XMP_START), found.xmp)
        position += tf.where(is_filling, 1, skipped)
        return position, Metadata(found.exif + exif, xmp, found.is_keyed)

    return _loop(is_header, step, 2)


def png_metadata(data: Any) -> Metadata:
    """Metadata of a PNG file, string tensor (); it must have an end."""

    def is_before_end(position: Any, _: Any) -> Any:
        return text_at(data, position + 4, 4) != b"IEND"

    def step(position: Any, found: Metadata) -> Any:
        length = number_at(data, position, 4)
        is_whole = (length >= 0) & (length <= tf.strings.length(data) - position - 12)
        with require(is_whole, "truncated: the PNG ends before the image does"):
            name = text_at(data, position + 4, 4)
        # Only these are looked into: pixels are not copied.
        is_text = (name == b"eXIf") | (name == b"iTXt") | (name == b"tEXt") | (name == b"zTXt")
        content = text_at(data, position + 8, tf.where(is_text, length, 0))
        has_xmp = (name == b"iTXt") & _begins(content, XMP_KEYWORD)
        is_packed = has_xmp & (number_at(content, len(XMP_KEYWORD), 1) != 0)
        with require(
            ~is_packed & ~_begins(content, RAW_PROFILE),
            "compressed XMP and EXIF as text are not read",
        ):
            exif = tf.where(name == b"eXIf", content, found.exif)
        xmp = tf.where(has_xmp, content, found.xmp)
        is_keyed = found.is_keyed | (name == b"tRNS")
        return position + 12 + length, Metadata(exif, xmp, is_keyed)

    return _loop(is_before_end, step, 8)


def orientation(metadata: Metadata) -> Any:
    """The EXIF orientation, int32 tensor () from 1 to 8; 1 where none is known."""
    # Of a PNG, some write the start that belongs into a JPEG alone; of a JPEG, some write it twice.
    is_marked = _begins(metadata.exif, EXIF_START)
    exif = tf.where(is_marked, _after(metadata.exif, EXIF_START), metadata.exif)
    by_exif = tf.cond(
        tf.strings.length(exif) > 0,
        lambda: _exif_orientation(exif),
        lambda: tf.constant(UNKNOWN),
    )
    by_xmp = tf.strings.regex_replace(metadata.xmp, XMP_ORIENTATION, r"\1")
    has_xmp = tf.strings.regex_full_match(by_xmp, "[0-9]")
    number = tf.strings.to_number(tf.where(has_xmp, by_xmp, "1"), tf.int32)
    found = tf.where(by_exif == UNKNOWN, number, by_exif)
    return tf.where((found >= 1) & (found <= 8), found, AS_STORED)


def _exif_orientation(exif: Any) -> Any:
    """What EXIF says; 0 where that is nothing; 1, so that XMP is not asked, where it is damaged."""
    start = text_at(exif, 0, 4)
    is_big = tf.reduce_any([start == each for each, is_big in TIFF_STARTS.items() if is_big])
    is_tiff = tf.reduce_any([start == each for each in TIFF_STARTS])
    is_tiff &= tf.strings.length(exif) >= 8

    def number(position: Any, n_bytes: int) -> Any:
        return number_at(exif, position, n_bytes, is_big)

    directory = number(4, 4)
    n_there = (tf.strings.length(exif) - directory - 2) // 12
    n_entries = tf.minimum(number(directory, 2), n_there)

    def at_other(entry: Any) -> Any:
        return (entry < n_entries) & (number(directory + 2 + 12 * entry, 2) != ORIENTATION_TAG)

    def value(entry: Any) -> Any:
        position = directory + 2 + 12 * entry
        kind, is_one = number(position + 2, 2), number(position + 4, 4) == 1
        is_plain = is_one & ((kind == SHORT) | (kind == LONG))
        with require(is_plain, "an orientation in EXIF that is no number is not read"):
            named = tf.where(kind == SHORT, number(position + 8, 2), number(position + 8, 4))
            # As Pillow: 0 is no orientation, but it is there, so XMP is not asked.
            return tf.where(named == UNKNOWN, AS_STORED, named)

    def found() -> Any:
        (entry,) = tf.while_loop(at_other, lambda each: (each + 1,), [0])
        return tf.cond(entry < n_entries, lambda: value(entry), lambda: tf.constant(UNKNOWN))

    is_there = is_tiff & (directory >= 0)
    in_directory = tf.cond(is_there, found, lambda: tf.constant(UNKNOWN))
    return tf.where(is_tiff, in_directory, AS_STORED)


def _loop(
    goes_on: Callable[[Any, Any], Any], step: Callable[[Any, Any], Any], start: int
) -> Metadata:
    nothing = Metadata(tf.constant(b""), tf.constant(b""), tf.constant(False))
    _, found = tf.while_loop(goes_on, step, [tf.constant(start), nothing])
    return Metadata(*found)


def _begins(text: Any, start: bytes) -> Any:
    return text_at(text, 0, len(start)) == start


def _after(text: Any, start: bytes) -> Any:
    return text_at(text, len(start), tf.strings.length(text))
