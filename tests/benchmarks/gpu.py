"""``make check-gpu``: does headbench do on a GPU what it promises, and how fast? Under 8 minutes.

Needs a GPU that TensorFlow sees; exit code 2 and one line where there is none. Images are those of
a folder (``DATA``), or else generated; weights are those of ``WEIGHTS``, or else random ones with
the moving statistics of a trained network: without them float16 overflows. Each part runs in a
process of its own, so that none finds the memory of another. Exit code 1 if a promise is
not kept: the rows whose peer is a tolerance or a limit, and whose ratio is below 1.

``--device cpu`` puts the CPU in the place of a GPU: for tests, at tiny sizes.
"""

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil

from headbench.cache.reader import FeatureFile
from headbench.classify.finetuning import finetune_stage
from headbench.classify.finetuning.finetune_settings import FinetuneSettings
from headbench.classify.finetuning.finetune_stage import Finetuning
from headbench.classify.run import Run
from headbench.classify.train_heads import train_heads
from headbench.extract import stage
from headbench.extract.errors import DeviceError
from headbench.extract.images.stream import Batch, ImageFile, decoded_images, image_batches
from headbench.extract.networks import keras_network
from headbench.extract.networks.backbone import create_backbone
from headbench.extract.networks.devices import GPU, Devices, find_devices
from headbench.extract.networks.engines import (
    Engine,
    EngineEmbedder,
    engine_on,
    halving_engine,
    has_openvino,
    openvino_engine,
    relative_difference,
)
from headbench.extract.networks.keras_runtime import forbid_tensor_float_32, load_tensorflow
from headbench.extract.settings import AUTO, FLOAT32, PRECISIONS, ExtractSettings
from headbench.extract.stage import extract_features
from headbench.extract.stopwatch import Stopwatch
from tests.benchmarks.finetune import ours as epoch_of
from tests.benchmarks.generated_photographs import write_photos
from tests.benchmarks.results import ROOT, Result, report
from tests.small_network import write_weights

# Largest relative distance from the unmodified network; a wrong network is off by more than 0.1.
TOLERANCES = {FLOAT32: 1e-4}
LOW_PRECISION_TOLERANCE = 5e-2
TOLERANCE, LIMIT = "tolerance", "limit"
# Of the memory of a GPU, what an extraction may take at most: others may want some too.
MEMORY_SHARE = 0.5
N_CALLS = 5
BATCH_SIZES = (16, 64, 256)
# Memory in which a batch of 1024 images at 224 px does not fit: the weights alone take 0.1 GB.
SHORT_MB, HUGE_BATCH = 2048, 1024
PRECISIONS_TRIED = tuple(each for each in PRECISIONS if each != AUTO)
# A part that takes longer ends without a result; together they take 8 minutes at most.
PART_SECONDS = {
    "parity": 90, "speed": 110, "files": 130, "finetune": 60, "memory": 40, "resume": 50,
}  # fmt: skip


class Check:
    """What all parts share: the device, the network and the images."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.given = arguments
        self.is_gpu = arguments.device == GPU
        # With a CPU in its place, what is said to be a GPU is one: the same code is run.
        self.devices = find_devices(GPU) if self.is_gpu else Devices(GPU, ("CPU:0",))
        for module in (keras_network, stage, finetune_stage):
            module.find_devices = lambda *_: self.devices
        self.photos = Path(arguments.photos)
        self.paths = sorted(each for each in self.photos.rglob("*") if each.is_file())

    def backbone(self, precision: str = FLOAT32) -> Any:
        """The network, not loaded."""
        given = self.given
        return create_backbone(given.backbone, given.weights, given.size, precision=precision)

    def settings(self, **options: Any) -> ExtractSettings:
        """Of an extraction in float32."""
        given = self.given
        options = {"precision": FLOAT32, **options}
        return ExtractSettings(given.backbone, given.weights, given.size, **options)

    def engine(self, precision: str) -> Engine:
        """The folded network on the device."""
        if precision == FLOAT32:
            forbid_tensor_float_32()
        return engine_on(self.devices, self.backbone(precision).folded_network)

    def pixels(self, n_images: int) -> np.ndarray:
        """The first images, decoded, again and again until there are enough."""
        resizing = self.backbone().resizing
        files = [ImageFile(path) for path in self.paths[:n_images]]
        batches: Iterator[Batch] = image_batches(files, resizing, n_images, lambda *_: None)
        images = np.concatenate([each.images for each in batches])
        return np.stack([*islice(cycle(images), n_images)])

    def memory_mb(self) -> tuple[float, float]:
        """Megabytes of the device that are taken, and all that it has."""
        if self.is_gpu:
            used, total = ask_driver("memory.used,memory.total")[0].replace("MiB", "").split(",")
            return float(used), float(total)
        return psutil.Process().memory_info().rss / 1e6, psutil.virtual_memory().total / 1e6


def parity(check: Check) -> Iterator[Result]:
    """Every engine and precision against the untouched network, on the CPU in float32."""
    images = check.pixels(check.given.n_parity)
    with load_tensorflow().device("CPU:0"):
        untouched = check.backbone().network()
        expected = np.concatenate([np.asarray(untouched(each[np.newaxis])) for each in images])
    engines: dict[str, Callable[[], Any]] = {}
    for precision in PRECISIONS_TRIED:
        engine = check.engine(precision)
        engines[f"TensorFlow {precision}"] = lambda engine=engine: engine.infer
        engines[f"TensorFlow {precision}, XLA"] = engine.by_xla
    if has_openvino():
        fold = check.backbone().folded_network
        engines["OpenVINO float32 on the CPU"] = lambda: openvino_engine(fold).infer
    for name, make in engines.items():
        found = relative_difference(make()(images), expected)
        precision = next(each for each in PRECISIONS_TRIED if each in name)
        yield agreement(f"parity: {name}", found, precision)


def agreement(what: str, difference: float, precision: str) -> Result:
    """A relative difference beside its tolerance."""
    tolerance = TOLERANCES.get(precision, LOW_PRECISION_TOLERANCE)
    return Result(what, "rel.", max(difference, 1e-12), tolerance, TOLERANCE)


def speed(check: Check) -> Iterator[Result]:
    """The network alone: by precision, with XLA and without, by batch size."""
    sizes = check.given.batch_sizes
    pixels = check.pixels(max(sizes))
    first = None
    for precision in PRECISIONS_TRIED:
        engine = check.engine(precision)
        # XLA compiles for each size, which takes long: the largest is enough to compare.
        forms = [("", engine.infer, sizes), (", XLA", engine.by_xla(), sizes[-1:])]
        for form, infer, some in forms:
            for size in some:
                found = 1000 * seconds_per_image(infer, pixels[:size])
                first = first or found
                what = f"network alone: {precision}{form}, {size} at once"
                yield Result(what, "ms", found, first, f"{PRECISIONS_TRIED[0]}, {sizes[0]} at once")
    # Otherwise TensorFlow takes all there is: nobody else could use the GPU.
    used, total = check.memory_mb()
    yield Result("memory that is taken", "MB", used, MEMORY_SHARE * total, LIMIT)


def seconds_per_image(infer: Callable[[np.ndarray], Any], images: np.ndarray) -> float:
    """Median of some calls, after one that prepares it."""
    infer(images)
    seconds = []
    for _ in range(N_CALLS):
        started = time.perf_counter()
        infer(images)
        seconds.append(time.perf_counter() - started)
    return median(seconds) / len(images)


def files(check: Check) -> Iterator[Result]:
    """From files to HDF5 as a run does it, beside its parts alone; the slowest is the limit."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["HEADBENCH_CACHE"] = str(folder / "cache")
        many = distinct_files(check.paths, folder / "many", check.given.n_files)
        taken = {}
        for precision in PRECISIONS_TRIED:
            for how in ("with the trial", "choice kept"):
                settings = check.settings(precision=precision)
                with listening() as said:
                    out = folder / f"{precision} {how}.h5"
                    taken[f"{precision}, {how}"] = extraction_seconds(many, out, settings)
                print(*(line for line in said if "images/s)" in line), sep="\n")
        paths = sorted(many.rglob("*.jpg"))
        alone = {"decode": decoding_seconds(check, paths), "copy": copying_seconds(check)}
    engine = check.engine(FLOAT32)
    alone["network"] = seconds_per_image(engine.infer, check.pixels(engine.batch_size))
    limit = max(alone, key=alone.__getitem__)
    print(f"the bottleneck is {limit}: " + ", ".join(
        f"{each} {1 / seconds:.0f} images/s" for each, seconds in alone.items()))  # fmt: skip
    for each, seconds in alone.items():
        peer = alone[limit]
        yield Result(f"alone: {each}", "ms", 1000 * seconds, 1000 * peer, f"{limit} alone")
    for what, seconds in taken.items():
        name = f"files to HDF5, loaded: {what}"
        yield Result(name, "ms", 1000 * seconds, 1000 * alone[limit], f"{limit} alone")


def distinct_files(paths: list[Path], folder: Path, n_files: int) -> Path:
    """Files in class folders, no two with the same bytes: what follows a JPEG's end is ignored."""
    for number, path in enumerate(islice(cycle(paths), n_files)):
        target = folder / path.parent.name / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes() + str(number).encode())
    return folder


def extraction_seconds(photos: Path, out: Path, settings: ExtractSettings) -> float:
    """Seconds for an image, without those of loading the network."""
    loading: list[float] = []
    load = keras_network.KerasBackbone.open

    def timed(*arguments: Any) -> Any:
        started = time.perf_counter()
        embedder = load(*arguments)
        loading.append(time.perf_counter() - started)
        return embedder

    keras_network.KerasBackbone.open = timed
    try:
        started = time.perf_counter()
        table = extract_features(photos, out, settings)
        return (time.perf_counter() - started - loading[0]) / len(table.paths)
    finally:
        keras_network.KerasBackbone.open = load


def decoding_seconds(check: Check, paths: list[Path]) -> float:
    """Seconds for an image, on all cores."""
    images = [ImageFile(path) for path in paths]
    started = time.perf_counter()
    resizing = check.backbone().resizing
    n_decoded = sum(1 for _ in decoded_images(images, resizing, lambda *_: None, Stopwatch()))
    return (time.perf_counter() - started) / n_decoded


def copying_seconds(check: Check) -> float:
    """Seconds for an image from memory to the device."""
    tf, images = load_tensorflow(), check.pixels(max(check.given.batch_sizes))

    def copy(images: np.ndarray) -> None:
        with tf.device(check.devices.names[0]):
            tf.reduce_max(tf.identity(tf.constant(images))[:1, :1, :1]).numpy()

    return seconds_per_image(copy, images)


def finetune(check: Check) -> Iterator[Result]:
    """An epoch of the last block, with the cache of the frozen part and without."""
    with tempfile.TemporaryDirectory() as name:
        run = Run(Path(name) / "run")
        extract_features(check.photos, run.features_path, check.settings())
        train_heads(run, ["ridge"], 0)
        seconds = {}
        with FeatureFile(run.features_path) as features:
            start = run.find("ridge", features)
            for is_cached in (True, False):
                settings = FinetuneSettings(start="ridge", augment=False, cache_trunk=is_cached)
                tuning = Finetuning.open(
                    run, features, start, settings, None, check.given.weights, AUTO
                )
                epoch = epoch_of(tuning)
                epoch()
                seconds[is_cached] = median(epoch() for _ in range(3))
    what = "an epoch of the last block, frozen part cached"
    yield Result(what, "s", seconds[True], seconds[False], "no cache")


def memory(check: Check) -> Iterator[Result]:
    """With little memory and a huge batch: the batch is halved, and the embeddings stay."""
    tf = load_tensorflow()
    if check.is_gpu:
        first, *_ = tf.config.list_physical_devices("GPU")
        limit = tf.config.LogicalDeviceConfiguration(memory_limit=SHORT_MB)
        tf.config.set_logical_device_configuration(first, [limit])
        check.devices = Devices(GPU, ("GPU:0",))
    n_images = check.given.huge_batch
    pixels, engine = check.pixels(n_images), check.engine(FLOAT32)
    expected = engine.infer(pixels[:4])
    if not check.is_gpu:
        engine = replace(engine, infer=short_of_memory(engine.infer, n_images // 2))
    with listening() as said:
        found = halving_engine(engine).infer(pixels)
    halvings = [line for line in said if "out of memory" in line]
    print(*halvings, sep="\n")
    # A ratio of 0 fails the check: memory was not short, so nothing was shown.
    what = f"batches halved, {n_images} images at once"
    yield Result(what, "times", 1.0, float(len(halvings)), LIMIT)
    difference = relative_difference(found[:4], expected)
    yield agreement("the same embeddings in halved batches", difference, FLOAT32)
    if check.is_gpu:
        found = tf.config.experimental.get_memory_info("GPU:0")
        yield Result("peak memory under a limit", "MB", found["peak"] / 2**20, SHORT_MB, LIMIT)


def short_of_memory(infer: Callable[[Any], Any], n_fitting: int) -> Callable[[Any], Any]:
    """A CPU whose memory is short, as that of a GPU would be."""

    def run(images: np.ndarray) -> Any:
        if len(images) > n_fitting:
            raise load_tensorflow().errors.ResourceExhaustedError(None, None, "planted")
        return infer(images)

    return run


def resume(check: Check) -> Iterator[Result]:
    """A run that is killed in the middle goes on, and makes the file of one that was not."""
    n_images = len(check.paths)
    part = max(1, n_images // 8)
    stage.PART_IMAGES = part
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["HEADBENCH_CACHE"] = str(folder / "cache")
        settings = check.settings(batch_size=part)
        n_done = run_until_killed(check.given, folder)
        with counting() as passed:
            extract_features(check.photos, folder / "killed.h5", settings)
        extract_features(check.photos, folder / "whole.h5", settings)
        found = []
        for each in ("killed.h5", "whole.h5"):
            with FeatureFile(folder / each) as features:
                found.append(features.dataset("embeddings").read())
    again = n_done + sum(passed) - n_images
    # What was in flight: the part that was being filled, and what the streams held.
    what = "killed in the middle: images embedded again"
    yield Result(what, "images", max(1, again), 4 * part, LIMIT)
    difference = relative_difference(*found)
    yield agreement("killed in the middle, and resumed: embeddings", difference, FLOAT32)


def run_until_killed(given: argparse.Namespace, folder: Path) -> int:
    """Start a run that kills itself half way; returns the images that went through the network."""
    count = folder / "count"
    done = run_part("killed", given, "--killed", folder)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    return int(count.read_text())


def killed(check: Check) -> Iterator[Result]:
    """The run that kills itself."""
    folder = Path(check.given.killed)
    part = max(1, len(check.paths) // 8)
    stage.PART_IMAGES = part
    with counting() as passed:

        def end() -> None:
            if sum(passed) >= len(check.paths) // 2 and list(folder.rglob("*.parts/*/*.h5")):
                (folder / "count").write_text(str(sum(passed)))
                os.kill(os.getpid(), signal.SIGKILL)

        passed.on_more = end
        extract_features(check.photos, folder / "killed.h5", check.settings(batch_size=part))
    raise AssertionError("the run ended before it was killed")
    yield


class Counts(list[int]):
    """Images in each call of the network, and what to do after a call."""

    on_more: Callable[[], None] = staticmethod(lambda: None)


@contextmanager
def counting() -> Iterator[Counts]:
    """Count the images that go through the network."""
    counts, infer = Counts(), EngineEmbedder.infer

    def counted(embedder: EngineEmbedder, images: np.ndarray) -> Any:
        found = infer(embedder, images)
        counts.append(len(images))
        counts.on_more()
        return found

    EngineEmbedder.infer = counted
    try:
        yield counts
    finally:
        EngineEmbedder.infer = infer


@contextmanager
def listening() -> Iterator[list[str]]:
    """The lines that headbench logs inside."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger("headbench")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)


PARTS = {each.__name__: each for each in (parity, speed, files, finetune, memory, resume)}


def run_part(name: str, given: argparse.Namespace, *more: object) -> Any:
    """Run a part in a process of its own."""
    options = {"part": name, "device": given.device, "backbone": given.backbone}
    options |= {"weights": given.weights, "size": given.size}
    command = [sys.executable, "-m", "tests.benchmarks.gpu", given.photos]
    command += [text for key, value in options.items() for text in (f"--{key}", str(value))]
    command += ["--tiny"] if given.tiny else []
    return subprocess.run(
        [*command, *map(str, more)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds_for(name, given),
    )  # fmt: skip


def seconds_for(name: str, given: argparse.Namespace) -> int:
    """Seconds that a part may take."""
    return PART_SECONDS.get(name, PART_SECONDS["resume"]) * (1 if given.device == GPU else 6)


def result_of(name: str, given: argparse.Namespace) -> tuple[list[Result], str]:
    """Rows of a part, and why there are none; its other lines are printed."""
    try:
        done = run_part(name, given)
    except subprocess.TimeoutExpired:
        return [], f"{name}: not done after {seconds_for(name, given)} s"
    if done.returncode:
        return [], f"{name}: {(done.stderr.strip() or done.stdout).splitlines()[-1]}"
    *lines, last = done.stdout.splitlines()
    print(*(f"{name}: {line}" for line in lines if line), sep="\n", flush=True)
    return [Result(**each) for each in json.loads(last)], ""


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="make check-gpu", description=__doc__)
    parser.add_argument("photos", nargs="?", help="class folders of JPEG files")
    parser.add_argument("--weights")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--device", choices=(GPU, "cpu"), default=GPU)
    parser.add_argument("--tiny", action="store_true", help="few images: to try the script")
    parser.add_argument("--out", type=Path, default=ROOT / "runs/bench")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--killed", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.n_parity, given.n_files, given.n_photos = (4, 48, 48) if given.tiny else (32, 4000, 400)
    given.batch_sizes = (2, 4) if given.tiny else BATCH_SIZES
    given.huge_batch = 16 if given.tiny else HUGE_BATCH
    return given


def gpu_facts(devices: Devices) -> dict[str, Any]:
    """What the GPUs are, for TensorFlow and for their driver."""
    config = load_tensorflow().config
    gpus = config.list_physical_devices("GPU") if devices.kind == GPU else []
    details = [config.experimental.get_device_details(each) for each in gpus]
    driver = ask_driver("name,memory.total,driver_version") if gpus else []
    return {"devices": str(devices), "gpus": [str(each) for each in details], "driver": driver}


def ask_driver(fields: str) -> list[str]:
    """What NVIDIA's driver says of each GPU."""
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def main() -> int:
    """Run all parts one after the other."""
    given = arguments()
    if given.part:
        logging.captureWarnings(True)
        part = {**PARTS, "killed": killed}[given.part]
        print(json.dumps([asdict(each) for each in part(Check(given))]))
        return 0
    try:
        devices = find_devices(given.device)
    except DeviceError as error:
        print(f"found no GPU: {error}", file=sys.stderr)
        return 2
    started, results, failures = time.perf_counter(), [], []
    with tempfile.TemporaryDirectory() as name:
        folder, weights = Path(name), given.weights or "random"
        given.photos = given.photos or str(write_photos(folder / "photos", given.n_photos))
        with load_tensorflow().device("CPU:0"):
            given.weights = given.weights or write_weights(folder, given.backbone)
        for each in PARTS:
            found, why = result_of(each, given)
            results += found
            failures += [why] if why else []
    report("gpu", results, given.out, gpu_facts(devices))
    promises = [each for each in results if each.peer_name in (TOLERANCE, LIMIT)]
    failures += [f"{each.name}: {each.ours:g} {each.unit}, {each.peer_name} {each.peer:g}"
                 for each in promises if not each.ours <= each.peer]  # fmt: skip
    print(*(f"not kept: {each}" for each in failures), sep="\n")
    print(f"{len(promises)} promises checked in {time.perf_counter() - started:.0f} s, "
          f"{len(failures)} not kept. Weights: {weights}.")  # fmt: skip
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
