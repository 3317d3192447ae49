"""The graph's pixels against those of `headbench.extract.images.decode`, bit for bit."""

import io
import random
import struct
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from headbench.classify.export import resize
from headbench.classify.export.examples import PIXELS_EXAMPLE, with_resizing
from headbench.classify.export.graph import decode as decode_in_graph
from headbench.classify.export.graph import decode_batch
from headbench.extract.errors import UnusableImageError
from headbench.extract.images.decode import decode
from headbench.extract.images.resizing import Resizing
from headbench.extract.networks.keras_runtime import load_tensorflow
from headbench.extract.settings import LETTERBOX, NONE, RESIZES, SQUASH
from tests.data.corpus.case import encode, gradient
from tests.data.corpus.jpeg import jpeg, jpeg_cases, oriented
from tests.data.corpus.others import (
    bmp_cases,
    gif_cases,
    modern_cases,
    no_image_cases,
    tiff_cases,
    webp_cases,
)
from tests.data.corpus.png import GREY_TYPE, RGB, RGB_TYPE, chunk, header, png, png_cases

SMALL_PX, ODD_PX = 32, 37
OURS = {**jpeg_cases(), **png_cases(), **bmp_cases(), **gif_cases()}
OTHERS = {**webp_cases(), **tiff_cases(), **modern_cases(), **no_image_cases()}
# A JPEG that was cut short and then closed, or that lacks a piece, has grey where it has nothing;
# of a PNG, texts are not looked at. `decode` refuses all of these.
NOT_NOTICED = {
    *("closed-early.jpg", "closed-early-and-more.jpg", "zeros-in-middle.jpg"),
    *("higher-than-it-is.jpg", "text-bomb.png", "itxt-bomb.png", "text-checksum.png"),
}
NOT_READ = {
    *("cmyk.jpg", "ycck.jpg", "few-rows.png", "transparent.gif"),
    *("8.bmp", "grey.bmp", "1.bmp", "run-lengths.bmp"),
}


@cache
def graph(resizing: Resizing | int) -> Any:
    """Traced and optimised, as a SavedModel runs it."""
    tf = load_tensorflow()
    data = tf.TensorSpec([], tf.string)
    function = tf.function(
        lambda data: decode_in_graph(data, resizing), input_signature=[data], autograph=False
    )
    return function.get_concrete_function()


def in_graph(data: bytes, resizing: Resizing | int) -> np.ndarray | None:
    """Pixels, or None where the graph raises the error that it is to raise."""
    tf = load_tensorflow()
    try:
        return graph(resizing)(tf.constant(data)).numpy()
    except tf.errors.InvalidArgumentError:
        return None


def assert_same(data: bytes, resizing: Resizing | int = SMALL_PX) -> None:
    found = in_graph(data, resizing)
    assert found is not None
    np.testing.assert_array_equal(found, decode(data, resizing))


@pytest.mark.real
@pytest.mark.parametrize("size_px", [64, 96, 224])
def test_pixels_of_photographs_are_equal(shared: Path, size_px: int) -> None:
    paths = sorted((shared / "data/food10/images").glob("*/*.jpg"))
    for path in random.Random(size_px).sample(paths, 60):  # noqa: S311, no secret
        assert_same(path.read_bytes(), size_px)


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_file_of_a_kind_that_is_read_gives_the_same_pixels_or_an_error(name: str) -> None:
    found = in_graph(OURS[name].data, ODD_PX)
    try:
        expected = decode(OURS[name].data, ODD_PX)
    except UnusableImageError:
        assert found is None or name in NOT_NOTICED
        return
    if name in NOT_READ:
        assert found is None
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_a_file_of_another_kind_is_an_error(name: str) -> None:
    assert in_graph(OTHERS[name].data, ODD_PX) is None


def test_the_error_names_what_is_read() -> None:
    tf = load_tensorflow()
    with pytest.raises(tf.errors.InvalidArgumentError, match="JPEG, PNG, BMP, GIF"):
        graph(ODD_PX)(tf.constant(webp_cases()["lossy.webp"].data))


@pytest.mark.parametrize("seed", range(40))
def test_pixels_of_noise_of_any_shape_are_equal(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # The shorter side reaches what is decoded at 1/2, 1/4 and 1/8.
    height, width = (int(side) for side in rng.integers(8, [120, 300, 600, 1100][seed % 4], 2))
    noise = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((width, height))
    image, exif = oriented(1 + seed % 8, image)
    subsampling, is_grey = int(rng.integers(0, 3)), seed % 5 == 0
    image = image.convert("L") if is_grey else image
    assert_same(jpeg(image, exif=exif, subsampling=subsampling))
    assert_same(encode(image, "PNG", exif=exif))


@pytest.mark.parametrize("rule", [SQUASH, LETTERBOX])
@pytest.mark.parametrize("seed", range(8))
def test_whole_pictures_are_equal_by_either_rule(seed: int, rule: str) -> None:
    rng = np.random.default_rng(seed)
    width, height = (int(side) for side in rng.integers(8, [120, 300, 1100, 2500][seed % 4], 2))
    noise = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 4), dtype=np.uint8)
    image, exif = oriented(1 + seed, Image.fromarray(noise).resize((width, height)))
    resizing = Resizing(ODD_PX, rule)
    assert_same(jpeg(image.convert("RGB"), exif=exif), resizing)
    assert_same(encode(image, "PNG", exif=exif), resizing)


def test_without_resizing_another_size_is_an_error() -> None:
    only, tf = Resizing(SMALL_PX, NONE), load_tensorflow()
    image, exif = oriented(6, gradient(SMALL_PX, SMALL_PX))
    data = jpeg(image, exif=exif)
    found = decode_in_graph(tf.constant(data), only).numpy()
    np.testing.assert_array_equal(found, decode(data, only))
    for height in (SMALL_PX + 1, 2 * SMALL_PX):
        with pytest.raises(tf.errors.InvalidArgumentError, match="pictures of 32x32 px only"):
            decode_in_graph(tf.constant(jpeg(gradient(SMALL_PX, height))), only)


@pytest.mark.parametrize("rule", RESIZES)
def test_the_examples_in_the_readme_make_the_same_pixels(tmp_path: Path, rule: str) -> None:
    size = (SMALL_PX, SMALL_PX) if rule == NONE else (90, 47)
    image, exif = oriented(6, gradient(*size))
    (tmp_path / "a.png").write_bytes(encode(image, "PNG", exif=exif))
    code = with_resizing(PIXELS_EXAMPLE, Resizing(SMALL_PX, rule)).split("pixels = ")[0]
    made: dict[str, Any] = {}
    exec(code, made)  # noqa: S102, our own
    expected = decode((tmp_path / "a.png").read_bytes(), Resizing(SMALL_PX, rule)).astype(int)
    assert np.abs(made["pixels_of"](tmp_path / "a.png") - expected).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shape", [(640, 887), (1201, 1600)])
def test_a_reduced_jpeg_is_turned_as_exif_says(orientation: int, shape: tuple[int, int]) -> None:
    image, exif = oriented(orientation, gradient(*shape))
    assert_same(jpeg(image, exif=exif))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [3, 4])
@pytest.mark.parametrize("is_last", [True, False])
def test_exif_is_read_in_both_byte_orders(order: str, kind: int, is_last: bool) -> None:
    tag = struct.pack(
        order + "HHI" + {3: "HH", 4: "I"}[kind], 0x0112, kind, 1, *((6, 0)[: 5 - kind])
    )
    other = struct.pack(order + "HHII", 0x0100, 4, 1, 0x01120112)
    entries = other + tag if is_last else tag + other
    start = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    exif = b"Exif\0\0" + start + struct.pack(order + "H", 2) + entries + bytes(4)
    data = jpeg(gradient(90, 60), exif=exif)
    assert not np.array_equal(decode(data, SMALL_PX), decode(jpeg(gradient(90, 60)), SMALL_PX))
    assert_same(data)


def xmp(orientation: int) -> bytes:
    return f'<x:xmpmeta>\n<d tiff:Orientation="{orientation}" é/>\n</x:xmpmeta>'.encode()


def test_xmp_is_asked_where_exif_says_nothing() -> None:
    turned = jpeg(xmp=xmp(8))
    assert not np.array_equal(decode(turned, SMALL_PX), decode(jpeg(), SMALL_PX))
    assert_same(turned)
    assert_same(jpeg(xmp=xmp(8), exif=oriented(3)[1]))
    assert_same(jpeg(xmp=xmp(9)))
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp(6).decode())
    assert_same(encode(Image.fromarray(RGB), "PNG", pnginfo=text))


@pytest.mark.parametrize("kind", [3, 4])
@pytest.mark.parametrize("named", [0, 1, 6, 9])
@pytest.mark.parametrize("by_xmp", [0, 8])
def test_an_orientation_of_exif_counts_though_xmp_names_another(
    kind: int, named: int, by_xmp: int
) -> None:
    value = struct.pack(">HH", named, 0) if kind == 3 else struct.pack(">I", named)
    tiff = b"MM\0*\0\0\0\10\0\1" + struct.pack(">HHI", 0x0112, kind, 1) + value + bytes(4)
    assert_same(jpeg(gradient(90, 60), exif=b"Exif\0\0" + tiff, xmp=xmp(by_xmp)))
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp(by_xmp).decode())
    assert_same(encode(gradient(90, 60), "PNG", exif=tiff, pnginfo=text))


def test_the_start_of_exif_may_be_where_it_does_not_belong() -> None:
    tiff = oriented(6)[1].tobytes().removeprefix(b"Exif\0\0")
    rest = png(RGB, RGB_TYPE, before=chunk(b"eXIf", b"Exif\0\0" + tiff))
    for data in (jpeg(exif=2 * b"Exif\0\0" + tiff), rest):
        assert not np.array_equal(decode(data, SMALL_PX), decode(jpeg(), SMALL_PX))
        assert_same(data)


def test_metadata_that_is_not_understood_is_an_error() -> None:
    packed = PngImagePlugin.PngInfo()
    packed.add_itxt("XML:com.adobe.xmp", xmp(6).decode(), zip=True)
    raw = chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 8\n4d4d002a00000008")
    pair = b"MM\0*\0\0\0\10\0\1" + struct.pack(">HHIHH", 0x0112, 3, 2, 6, 6) + bytes(4)
    for data in (
        encode(Image.fromarray(RGB), "PNG", pnginfo=packed),
        png(RGB, RGB_TYPE, before=raw),
        jpeg(exif=b"Exif\0\0" + pair),
    ):
        assert in_graph(data, SMALL_PX) is None


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_of_png_gives_the_same_pixels(mode: str) -> None:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (61, 83, 4), dtype=np.uint8))
    if mode == "I;16":
        noise = Image.fromarray(rng.integers(0, 65536, (61, 83), dtype=np.uint16))
    assert_same(encode(noise if mode == "I;16" else noise.convert(mode), "PNG"))


@pytest.mark.parametrize(("depth", "color"), [(4, GREY_TYPE), (16, RGB_TYPE)])
def test_a_transparent_colour_of_other_than_8_bits_is_an_error(depth: int, color: int) -> None:
    row = bytes(1 + 80 * depth * (3 if color == RGB_TYPE else 1) // 8)
    pixels = chunk(b"IDAT", zlib.compress(60 * row)) + chunk(b"IEND", b"")
    start = header(80, 60, depth, color)
    assert_same(start + pixels)
    assert in_graph(start + chunk(b"tRNS", bytes(6)) + pixels, SMALL_PX) is None


def test_a_gif_that_does_not_fill_its_screen_is_an_error() -> None:
    data = encode(Image.new("P", (40, 30)), "GIF")
    wider = data[:6] + struct.pack("<HH", 60, 30) + data[10:]
    assert in_graph(data, SMALL_PX) is not None
    assert in_graph(wider, SMALL_PX) is None


def test_rows_are_resized_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    data = jpeg(gradient(301, 207))
    monkeypatch.setattr(resize, "BLOCK_PIXELS", 2000)
    tf = load_tensorflow()
    [found] = decode_batch(tf.constant([data]), SMALL_PX).numpy()
    np.testing.assert_array_equal(found, decode(data, SMALL_PX))


def test_a_batch_is_decoded_image_by_image() -> None:
    tf = load_tensorflow()
    files = [jpeg(), jpeg(gradient(90, 200)), encode(gradient(33, 32), "PNG")]
    found = decode_batch(tf.constant(files), SMALL_PX).numpy()
    np.testing.assert_array_equal(found, [decode(data, SMALL_PX) for data in files])
    assert decode_batch(tf.constant([], tf.string), SMALL_PX).shape == (0, SMALL_PX, SMALL_PX, 3)


def test_too_large_too_thin_or_empty_is_an_error() -> None:
    assert in_graph(b"", SMALL_PX) is None
    out = io.BytesIO()
    Image.new("L", (3300, 32)).save(out, "PNG")
    assert in_graph(out.getvalue(), SMALL_PX) is None
