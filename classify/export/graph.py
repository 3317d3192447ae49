"""File bytes to pixels in a TensorFlow graph: equal to `extract.images.decode`, or an error.

It reads JPEG (except CMYK), PNG, BMP of 24 and 32 bits, and GIF whose first picture is complete and
has no transparent colour. It refuses others by name: WebP, TIFF, AVIF, HEIC, BMP with a palette.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from headbench.classify.export.exif import (
    AS_STORED,
    jpeg_metadata,
    number_at,
    orientation,
    png_metadata,
    require,
    text_at,
)
from headbench.classify.export.resize import resize
from headbench.extract.images.decode import MAX_ASPECT, MAX_PIXELS, UPRIGHT
from headbench.extract.images.resizing import PADDING, REDUCED_TIMES, Resizing, as_resizing
from headbench.extract.networks.keras_runtime import load_tensorflow
from headbench.extract.settings import CROP, LETTERBOX, NONE

tf = load_tensorflow()

READABLE = ("JPEG", "PNG", "BMP", "GIF")
GREY_TYPE, COLOR_TYPE, ALPHA_TYPES = 0, 2, 4  # of PNG; both with alpha from 4 on
SWAPPED_FROM = 5  # orientations that exchange height and width


class Stored(NamedTuple):
    """A picture as it is stored.

    Attributes
    ----------
    pixels : uint8 tensor (height, width, 3 or 4)
        RGB, or premultiplied RGBA; of a JPEG perhaps at reduced scale.
    size : float64 tensor (2,)
        Width and height in full.
    extent : float64 tensor (2,)
        Width and height at the scale of the pixels, fractions of a pixel included.
    orientation : int32 tensor ()
        Of EXIF.
    """

    pixels: Any
    size: Any
    extent: Any
    orientation: Any


def decode_batch(image_bytes: Any, resizing: Resizing | int) -> Any:
    """Decode files, string tensor (n,), one after the other; uint8 (n, size_px, size_px, 3)."""
    resizing = as_resizing(resizing)
    shape = tf.TensorSpec([resizing.size_px, resizing.size_px, 3], tf.uint8)
    return tf.map_fn(
        lambda data: decode(data, resizing),
        image_bytes,
        # One at a time, for memory: those of each use all cores where it is worth it.
        parallel_iterations=1,
        fn_output_signature=shape,
    )


def decode(data: Any, resizing: Resizing | int) -> Any:
    """Decode one file.

    Parameters
    ----------
    data : string tensor ()
        A whole file.
    resizing : Resizing or int
        As `extract.images.decode` takes it.

    Returns
    -------
    uint8 tensor (size_px, size_px, 3)
        RGB, 0-255, upright: as `extract.images.decode` gives it, bit for bit. Running the graph
        raises ``InvalidArgumentError`` for files that it does not read.
    """
    resizing = as_resizing(resizing)
    stored = _stored(data, resizing)
    is_backwards = [tf.constant([row[axis] for row in _ways()]) for axis in (0, 1)]
    backwards_x, backwards_y = (tf.gather(each, stored.orientation) for each in is_backwards)
    x, y = _box(stored, resizing, (backwards_x, backwards_y))
    shown = _on_white(resize(stored.pixels, x, y, _fitted(stored.size, resizing)))
    shown = tf.where(backwards_y, tf.reverse(shown, [0]), shown)
    shown = tf.where(backwards_x, tf.reverse(shown, [1]), shown)
    is_swapped = stored.orientation >= SWAPPED_FROM
    upright = tf.cond(is_swapped, lambda: tf.transpose(shown, [1, 0, 2]), lambda: shown)
    return _framed(upright, resizing.size_px)


def _ways() -> list[tuple[bool, bool]]:
    """By orientation, 0 to 8: whether the picture is stored backwards along x, and along y."""
    return [UPRIGHT[each][1:] if each in UPRIGHT else (False, False) for each in range(9)]


def _stored(data: Any, resizing: Resizing) -> Stored:
    readers: list[tuple[tuple[bytes, ...], Callable[[], Stored]]] = [
        ((b"\xff\xd8\xff",), lambda: _jpeg(data, resizing)),
        ((b"\x89PNG\r\n\x1a\n",), lambda: _png(data)),
        ((b"BM",), lambda: _bmp(data)),
        ((b"GIF87a", b"GIF89a"), lambda: _gif(data)),
    ]
    is_each = [
        tf.reduce_any([text_at(data, 0, len(start)) == start for start in starts])
        for starts, _ in readers
    ]
    known = f"not a file that this model reads: {', '.join(READABLE)}"
    with require(tf.reduce_any(is_each), known):
        number = tf.argmax(tf.stack(is_each), output_type=tf.int32)
    stored = Stored(*tf.switch_case(number, [reader for _, reader in readers]))
    if resizing.rule != NONE:
        return stored
    with require(tf.reduce_all(stored.size == resizing.size_px), resizing.only):
        return stored._replace(pixels=tf.identity(stored.pixels))


def _jpeg(data: Any, resizing: Resizing) -> Stored:
    height, width, n_channels = tf.unstack(tf.io.extract_jpeg_shape(data))
    with require(n_channels != 4, "CMYK is not read"), _fit(width, height):
        # As `Resizing.least`: the side that shrinks least decides.
        decides = tf.maximum if resizing.rule == LETTERBOX else tf.minimum
        resized = resizing.shorter_px if resizing.rule == CROP else resizing.size_px
        times = decides(width, height) // (REDUCED_TIMES * resized)
    # As Pillow's draft: the largest of 8, 4, 2 and 1 that leaves enough.
    power = tf.cast(times >= 2, tf.int32) + tf.cast(times >= 4, tf.int32)
    power += tf.cast(times >= 8, tf.int32)

    def at(ratio: int) -> Callable[[], Any]:
        # The exact transform is Pillow's; the default one is off by a grey level.
        return lambda: tf.io.decode_jpeg(data, 3, ratio, dct_method="INTEGER_ACCURATE")

    pixels = tf.switch_case(power, [at(2**each) for each in range(4)])
    size = _floats(width, height)
    extent = size / tf.cast(tf.bitwise.left_shift(1, power), tf.float64)
    return Stored(pixels, size, extent, orientation(jpeg_metadata(data)))


def _png(data: Any) -> Stored:
    width, height = number_at(data, 16, 4), number_at(data, 20, 4)
    depth, color = number_at(data, 24, 1), number_at(data, 25, 1)
    is_grey, is_color = color == GREY_TYPE, color == COLOR_TYPE
    with _fit(width, height):
        metadata = png_metadata(data)
    is_odd = metadata.is_keyed & ((is_color & (depth == 16)) | (is_grey & (depth < 8)))
    has_alpha = metadata.is_keyed | (color >= ALPHA_TYPES)
    with require(~is_odd, "PNG of other than 8 bits with one transparent colour is not read"):
        upright = orientation(metadata)
    with tf.control_dependencies([upright]):
        kind = tf.where(is_grey & (depth == 16), 2, tf.cast(has_alpha, tf.int32))
        readers = [lambda: tf.io.decode_png(data, 3), lambda: _premultiplied(data)]
        pixels = tf.switch_case(kind, [*readers, lambda: _deep_grey(data)])
    size = _floats(width, height)
    return Stored(pixels, size, size, upright)


def _deep_grey(data: Any) -> Any:
    """Grey of 16 bits, rounded to 8; what is transparent is white."""
    grey, _, _, alpha = tf.unstack(tf.io.decode_png(data, 4, tf.uint16), axis=2)
    grey = tf.where(alpha == 0, tf.constant(65535, tf.uint16), grey)
    grey = tf.cast((tf.cast(grey, tf.int32) + 128) // 257, tf.uint8)
    return tf.repeat(grey[..., tf.newaxis], 3, axis=2)


def _premultiplied(data: Any) -> Any:
    """RGBA, its colours times alpha, rounded as Pillow does."""
    pixels = tf.io.decode_png(data, 4)
    colors, alpha = pixels[..., :3], pixels[..., 3:]
    eight = tf.constant(8, tf.uint16)
    product = tf.cast(colors, tf.uint16) * tf.cast(alpha, tf.uint16) + 128
    product = tf.bitwise.right_shift(tf.bitwise.right_shift(product, eight) + product, eight)
    return tf.concat([tf.cast(product, tf.uint8), alpha], axis=2)


def _bmp(data: Any) -> Stored:
    header, bits, packing = (
        number_at(data, position, n_bytes, is_big_endian=False)
        for position, n_bytes in ((14, 4), (28, 2), (30, 4))
    )
    width, height = (number_at(data, position, 4, is_big_endian=False) for position in (18, 22))
    is_read = (header >= 40) & (packing == 0) & ((bits == 24) | (bits == 32))
    with require(is_read, "BMP with a palette or packed is not read"), _fit(width, abs(height)):
        pixels = tf.io.decode_bmp(data)[..., :3]
    return _as_stored(pixels)


def _gif(data: Any) -> Stored:
    width, height = (number_at(data, position, 2, is_big_endian=False) for position in (6, 8))
    picture, is_clear = _first_picture(data)
    place = [
        number_at(data, picture + position, 2, is_big_endian=False) for position in (1, 3, 5, 7)
    ]
    is_whole = tf.reduce_all(tf.stack(place) == tf.stack([0, 0, width, height]))
    with require(is_whole & ~is_clear, "GIF with transparency is not read"), _fit(width, height):
        pixels = tf.io.decode_image(data, 3, expand_animations=False)
    return _as_stored(tf.ensure_shape(pixels, [None, None, 3]))


def _first_picture(data: Any) -> tuple[Any, Any]:
    """Where the first picture of a GIF begins, and whether one of its colours is transparent."""
    flags = number_at(data, 10, 1)
    n_colors = tf.bitwise.left_shift(2, flags % 8)
    start = 13 + tf.where(flags >= 128, 3 * n_colors, 0)

    def skip(position: Any, is_clear: Any) -> Any:
        is_control = number_at(data, position + 1, 1) == 0xF9
        is_clear |= is_control & (number_at(data, position + 3, 1) % 2 == 1)
        (end,) = tf.while_loop(
            lambda block: number_at(data, block, 1) > 0,
            lambda block: (block + 1 + number_at(data, block, 1),),
            [position + 2],
        )
        return end + 1, is_clear

    found: tuple[Any, Any] = tf.while_loop(
        lambda position, _: number_at(data, position, 1) == 0x21, skip, [start, False]
    )
    return found


def _as_stored(pixels: Any) -> Stored:
    shape = tf.shape(pixels)
    size = _floats(shape[1], shape[0])
    return Stored(pixels, size, size, tf.constant(AS_STORED))


def _floats(width: Any, height: Any) -> Any:
    return tf.cast(tf.stack([width, height]), tf.float64)


def _fit(width: Any, height: Any) -> Any:
    """Require that a picture is neither empty nor too large nor too thin."""
    sides = tf.cast(tf.stack([width, height]), tf.int64)
    shorter, longer = tf.reduce_min(sides), tf.reduce_max(sides)
    fits = (shorter > 0) & (shorter * longer <= MAX_PIXELS) & (longer <= MAX_ASPECT * shorter)
    return require(fits, f"empty, more than {MAX_PIXELS} pixels, or too long and thin")


def _fitted(size: Any, resizing: Resizing) -> tuple[Any, Any]:
    """As `Resizing.fitted`: width and height, int32 tensors ()."""
    if resizing.rule != LETTERBOX:
        return resizing.size_px, resizing.size_px
    scale = tf.constant(resizing.size_px, tf.float64) / tf.reduce_max(size)
    width, height = tf.unstack(tf.maximum(1, tf.cast(tf.round(size * scale), tf.int32)))
    return width, height


def _box(stored: Stored, resizing: Resizing, is_backwards: tuple[Any, Any]) -> list[Any]:
    """Where the part that is kept begins and ends on each axis, float32 tensors (2,)."""
    if resizing.rule != CROP:
        return [
            tf.cast(tf.stack([0.0, extent]), tf.float32) for extent in tf.unstack(stored.extent)
        ]
    scale = resizing.shorter_px / tf.reduce_min(stored.size)
    return [
        _middle(stored.size[axis] * scale, stored.extent[axis], resizing.size_px, is_turned)
        for axis, is_turned in enumerate(is_backwards)
    ]


def _middle(length_px: Any, extent: Any, size_px: int, is_backwards: Any) -> Any:
    """As `extract.images.decode` places the crop, float32 tensor (2,): where it begins and ends."""
    resized = tf.maximum(tf.round(length_px), size_px)
    start = tf.floor((resized - size_px + tf.cast(is_backwards, tf.float64)) / 2)
    ends = tf.stack([start, start + size_px]) / resized * extent
    return tf.cast(ends, tf.float32)


def _on_white(pixels: Any) -> Any:
    """RGB of what is RGB already, or premultiplied RGBA."""
    height, width, n_channels = tf.unstack(tf.shape(pixels))
    opaque = tf.fill([height, width, 4 - n_channels], tf.constant(255, tf.uint8))
    whole = tf.cast(tf.concat([pixels, opaque], axis=2), tf.int32)
    shown = tf.minimum(whole[..., :3] + 255 - whole[..., 3:], 255)
    return tf.cast(tf.ensure_shape(shown, [None, None, 3]), tf.uint8)


def _framed(pixels: Any, size_px: int) -> Any:
    """Pixels in the middle of a square in the colour `PADDING`, uint8 (size_px, size_px, 3)."""
    missing = size_px - tf.shape(pixels)[:2]
    around = tf.pad(tf.stack([missing // 2, missing - missing // 2], axis=1), [[0, 1], [0, 0]])
    square = tf.pad(tf.cast(pixels, tf.int32) - PADDING, around) + PADDING
    return tf.cast(tf.ensure_shape(square, [size_px, size_px, 3]), tf.uint8)
