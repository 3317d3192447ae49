"""What a faster decoder of JPEG would bring: ``python -m tests.benchmarks.decoders FOLDER``.

Decoding and our resize on one thread; how far the pixels lie from ours (the bound is a mean of 1
grey level for each photograph); and whole extraction by MobileNet 0.25, where decoding is the
limit. All in processor seconds, and decoders take turns. Those that are not installed are left out:
``pip install simplejpeg "pyvips[binary]"``.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headbench.extract.images import stream
from headbench.extract.images.decode import _upright, decode, on_white
from headbench.extract.images.resizing import Resizing, as_resizing
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.benchmarks.results import Result, report

N_ROUNDS = 5
SIZE_PX = 224
PILLOW = "Pillow"
BOUND = 1.0

Pixels = NDArray[np.uint8]
Decoder = Callable[[bytes], Pixels]


def decoders() -> dict[str, Decoder]:
    """From the bytes of a JPEG to RGB pixels, at full size."""
    found: dict[str, Decoder] = {}
    if find_spec("simplejpeg"):
        from simplejpeg import decode_jpeg

        found["simplejpeg"] = lambda data: decode_jpeg(data, "RGB", False, False)
        found["simplejpeg, fast DCT"] = lambda data: decode_jpeg(data, "RGB", True, True)
    if find_spec("pyvips"):
        # A thread for each picture: we decode as many pictures as there are cores.
        os.environ.setdefault("VIPS_CONCURRENCY", "1")
        from pyvips import Image as Vips

        found["pyvips"] = lambda data: Vips.new_from_buffer(data, "", access="sequential").numpy()
    return found


def resized(decoder: Decoder) -> Callable[..., Pixels]:
    """What stands in for our `decode`: another decoder, and our resize."""

    def run(data: bytes, resizing: Resizing | int, *_: object) -> Pixels:
        image = Image.fromarray(decoder(data))
        return on_white(_upright(image, as_resizing(resizing), image.width * image.height))

    return run


def images_per_second(run: Callable[..., Pixels], files: list[bytes]) -> float:
    """On one thread, by processor seconds."""
    started = time.process_time()
    for data in files:
        run(data, SIZE_PX)
    return len(files) / (time.process_time() - started)


def extraction_seconds(
    photos: Path, settings: ExtractSettings, run: Callable[..., Pixels]
) -> float:
    """Processor seconds of an extraction, with those that load the network."""
    with tempfile.TemporaryDirectory() as name:
        stream.decode = run
        try:
            started = time.process_time()
            extract_features(photos, Path(name) / "features.h5", settings)
            return time.process_time() - started
        finally:
            stream.decode = decode


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="class folders of JPEG files")
    parser.add_argument("--weights", default="random", help="of mobilenet-0.25")
    parser.add_argument("--rounds", type=int, default=N_ROUNDS)
    parser.add_argument("--files", type=int, default=200, help="to decode on one thread")
    given = parser.parse_args()
    every = sorted(given.photos.rglob("*.jpg"))
    files = [
        path.read_bytes() for path in islice(every, 0, None, max(1, len(every) // given.files))
    ]
    runs = {PILLOW: decode} | {name: resized(each) for name, each in decoders().items()}
    settings = ExtractSettings("mobilenet-0.25", given.weights, SIZE_PX)
    alone: dict[str, list[float]] = {name: [] for name in runs}
    whole: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(given.rounds):
        for name, run in runs.items():
            alone[name].append(1000 / images_per_second(run, files))
            seconds = extraction_seconds(given.photos, settings, run)
            whole[name].append(1000 * seconds / len(every))
    ours = [decode(data, SIZE_PX).astype(int) for data in files]
    results = []
    for name, run in runs.items():
        if name == PILLOW:
            continue
        found = [run(data, SIZE_PX) for data in files]
        worst = max(np.abs(theirs - mine).mean() for mine, theirs in zip(ours, found, strict=True))
        for what, taken in (("decode and resize", alone), ("extraction", whole)):
            pair = (statistics.median(taken[each]) for each in (PILLOW, name))
            results.append(Result(f"{what}, by {PILLOW}", "ms", *pair, name))
        results.append(
            Result(f"{name}: worst photograph", "grey", max(worst, 1e-9), BOUND, "bound")
        )
    report("decoders", results)


if __name__ == "__main__":
    main()
