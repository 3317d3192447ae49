"""Small files that claim many pixels."""

import asyncio
import gc
import struct
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from headbench.classify.deployment.server import app
from headbench.extract.errors import TooLargeError
from tests.classify.deployment.server.client import Client

SIDE_PX = 13_000
SIZE = struct.pack("<HH", SIDE_PX, SIDE_PX)


def gif() -> bytes:
    """One pixel on a canvas of 169 million."""
    picture = b"," + bytes(4) + struct.pack("<HH", 1, 1) + b"\0\x02\x02\x44\x01\0;"
    return b"GIF89a" + SIZE + b"\x80\0\0" + b"\0\0\0\xff\xff\xff" + picture


def png(side_px: int) -> bytes:
    """Transparent black, of few bytes and true checksums."""
    rows = zlib.compress((b"\0" + bytes(4 * side_px)) * side_px, 9)
    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 6, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def test_a_picture_of_too_many_pixels_is_refused_before_they_are_decoded(client: Client) -> None:
    reply = client.predict(gif())
    assert reply.status == 422
    assert "13000x13000 px is more than 40000000 pixels" in reply.json["error"]


def test_large_pictures_are_answered_one_at_a_time_and_small_ones_meanwhile(
    red: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_open, at_work, most = threading.Event(), [0], [0]
    decode = app.decode

    def slowly(data: bytes, *limits: Any) -> np.ndarray:
        if len(limits) > 2 or len(data) == len(red):
            return decode(data, *limits)
        at_work[0] += 1
        most[0] = max(most[0], at_work[0])
        is_open.wait()
        at_work[0] -= 1
        return decode(data, *limits)

    monkeypatch.setattr(app, "decode", slowly)
    monkeypatch.setattr(app, "LARGE_PIXELS", 1000)
    decoded = app.decoder(16, 40_000_000)

    async def ask() -> None:
        large = [asyncio.create_task(decoded(png(40))) for _ in range(8)]
        await asyncio.sleep(0.05)
        small = [await decoded(red) for _ in range(8)]
        is_open.set()
        assert len(small) + len(await asyncio.gather(*large)) == 16

    with ThreadPoolExecutor(1) as pool:  # a browser may have a loop in this thread
        pool.submit(asyncio.run, ask()).result()
    assert most == [1]


@pytest.mark.parametrize("max_pixels", [40_000_000, 100])
def test_nothing_of_a_large_picture_or_of_a_refused_one_is_kept(
    max_pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "LARGE_PIXELS", 1000)
    decoded, data = app.decoder(16, max_pixels), png(40)
    before = sys.getrefcount(data)
    gc.disable()
    try:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: asyncio.run(decoded(data)) is None).result()
        # A thread that has answered may be a moment late to forget the file.
        for _ in range(100):
            if sys.getrefcount(data) == before:
                break
            time.sleep(0.01)
        assert sys.getrefcount(data) == before
    finally:
        gc.enable()


def test_a_large_picture_gets_the_same_answer(client: Client) -> None:
    reply = client.predict(png(3100))
    assert (reply.status, reply.json["predictions"][0]["class"]) == (200, "green")


def test_neither_limit_is_passed() -> None:
    with pytest.raises(TooLargeError, match="40x40 px is more than 1000 pixels"):
        app.decode(png(40), 16, 1000)
    with pytest.raises(TooLargeError, match="40x40 px in memory are more than 1000 pixels"):
        app.decode(png(40), 16, 2000, 1000)
