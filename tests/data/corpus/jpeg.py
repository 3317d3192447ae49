"""JPEG files."""

import struct

import numpy as np
from PIL import Image, ImageCms

from tests.data.corpus.case import (
    GREY,
    HEIGHT,
    PICTURE,
    TOO_MANY,
    TRUNCATED,
    WIDTH,
    Case,
    damaged,
    encode,
    gradient,
    refused,
)

ORIENTATION = 0x0112
STORED_AS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
EOI = b"\xff\xd9"


def jpeg(image: Image.Image = PICTURE, **options: object) -> bytes:
    """Our picture, as good as JPEG can."""
    return encode(image, "JPEG", quality=95, **{"subsampling": 0, **options})


def oriented(orientation: int, image: Image.Image = PICTURE) -> tuple[Image.Image, Image.Exif]:
    """The picture as a camera held so would store it, and the EXIF that says so."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    turn = STORED_AS.get(orientation)
    return (image if turn is None else image.transpose(turn)), exif


def jpeg_cases() -> dict[str, Case]:
    """All of them, by file name."""
    return {
        "baseline.jpg": Case(jpeg()),
        "subsampled.jpg": Case(jpeg(subsampling=2)),
        "progressive.jpeg": Case(jpeg(progressive=True)),
        "optimized.jpe": Case(jpeg(optimize=True)),
        "restarts.jfif": Case(jpeg(restart_marker_rows=1)),
        "grey.jpg": Case(jpeg(GREY), picture=GREY),
        "progressive-grey.jpg": Case(jpeg(GREY, progressive=True), picture=GREY),
        "cmyk.jpg": Case(jpeg(PICTURE.convert("CMYK"))),
        "ycck.jpg": Case(_ycck()),
        "profile.jpg": Case(jpeg(icc_profile=_srgb())),
        "two-pictures.jpg": Case(_mpo()),
        "comment.jpg": Case(jpeg(comment=b"\xff\xd9" * 9000)),
        "large.jpg": Case(jpeg(gradient(1601, 1201)), picture=gradient(1601, 1201)),
        "large-progressive.jpg": Case(jpeg(gradient(1601, 1201), progressive=True)),
        "white.jpg": Case(jpeg(_white(), optimize=True), picture=_white()),
        "called.png": Case(jpeg()),
        "1x1.jpg": Case(jpeg(Image.new("L", (1, 1))), picture=Image.new("L", (1, 1))),
        "long.jpg": refused(jpeg(Image.new("L", (1, 5000))), "1x5000 px is too long and thin"),
        **{f"orientation-{number}.jpg": Case(_turned(number)) for number in range(1, 9)},
        **{f"large-turned-{number}.jpg": _large_turned(number) for number in range(2, 9)},
        **_odd_metadata(),
        **_cut(),
        **_false_headers(),
    }


def _turned(orientation: int) -> bytes:
    image, exif = oriented(orientation)
    return jpeg(image, exif=exif)


def _large_turned(orientation: int) -> Case:
    picture = gradient(1101, 1203)
    image, exif = oriented(orientation, picture)
    return Case(jpeg(image, exif=exif), picture=picture)


def _odd_metadata() -> dict[str, Case]:
    image, exif = oriented(6)
    thumbnail = exif.tobytes() + jpeg(gradient(16, 12))
    return {
        "exif-thumbnail.jpg": Case(jpeg(image, exif=thumbnail)),
        "exif-thumbnail-cut.jpg": refused(jpeg(image, exif=thumbnail)[:-40], TRUNCATED),
        "exif-garbage.jpg": Case(jpeg(exif=b"Exif\0\0" + b"\xde\xad\xbe\xef" * 20)),
        "exif-cut.jpg": Case(jpeg(exif=exif.tobytes()[:17])),
        "exif-orientation-99.jpg": Case(jpeg(exif=oriented(99)[1])),
        "trailing-text.jpg": Case(jpeg() + b"made by a camera" * 40),
        "trailing-zeros.jpg": Case(jpeg() + bytes(5000)),
    }


def _cut() -> dict[str, Case]:
    whole, progressive = jpeg(), jpeg(progressive=True)
    scan = whole.index(b"\xff\xda")
    half = (scan + len(whole)) // 2
    return {
        **{
            f"cut-{part}.jpg": refused(whole[:length], TRUNCATED)
            for part, length in {
                "marker": 3,
                "header": 30,
                "before-scan": scan,
                "in-half": half,
                "last": len(whole) - 2,
            }.items()
        },
        "cut-progressive.jpg": refused(progressive[:-300], TRUNCATED),
        "zeros-at-end.jpg": refused(whole[:half] + bytes(len(whole) - half), TRUNCATED),
        "closed-early.jpg": refused(whole[:half] + EOI, TRUNCATED),
        "closed-early-and-more.jpg": refused(whole[:half] + EOI + whole, TRUNCATED),
        "zeros-in-middle.jpg": refused(whole[:half] + bytes(50) + whole[half + 50 :], TRUNCATED),
        # Known to pass: nothing cheap tells it from an image that is blurred.
        "closed-early-progressive.jpg": Case(progressive[:-300] + EOI, picture=None),
    }


def _false_headers() -> dict[str, Case]:
    return {
        "zero-height.jpg": refused(_resized(0, WIDTH), damaged("JPEG")),
        "zero-width.jpg": refused(_resized(HEIGHT, 0), damaged("JPEG")),
        "bomb.jpg": refused(_resized(50_000, 50_000), TOO_MANY),
        "higher-than-it-is.jpg": refused(_resized(HEIGHT * 2, WIDTH), TRUNCATED),
        "no-tables.jpg": refused(jpeg().replace(b"\xff\xdb", b"\xff\xfe"), "cannot be decoded"),
        "only-markers.jpg": refused(b"\xff\xd8\xff\xd9", damaged("JPEG")),
        "scan-without-frame.jpg": refused(
            b"\xff\xd8\xff\xda\0\x0c\x03\1\0\2\x11\3\x11\0\x3f\0" + bytes(99) + EOI,
            damaged("JPEG"),
        ),
    }


def _resized(height: int, width: int) -> bytes:
    """Our picture with other sides in its header."""
    found = struct.pack(">HH", HEIGHT, WIDTH)
    return jpeg().replace(found, struct.pack(">HH", height, width), 1)


def _ycck() -> bytes:
    """Written as CMYK, then declared to be YCCK, which is of the colours' complements."""
    planes = np.asarray(Image.eval(PICTURE, lambda value: 255 - value).convert("YCbCr"))
    stored = np.dstack([planes, np.full((HEIGHT, WIDTH), 255, dtype=np.uint8)])
    data = jpeg(Image.fromarray(255 - stored, "CMYK"))
    transform = data.index(b"Adobe") + 11
    return data[:transform] + b"\2" + data[transform + 1 :]


def _mpo() -> bytes:
    return encode(PICTURE, "MPO", save_all=True, append_images=[PICTURE.rotate(180)], quality=95)


def _srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _white() -> Image.Image:
    return Image.new("RGB", (900, 900), "white")
