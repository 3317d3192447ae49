"""Engines that run a network: TensorFlow, OpenVINO, several GPUs; each is checked before use."""

import logging
import math
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from headbench.extract.errors import DeviceError
from headbench.extract.images.stream import Batch, map_ahead
from headbench.extract.networks.devices import GPU, THREADS, Devices
from headbench.extract.networks.keras_runtime import freeze, load_tensorflow
from headbench.extract.settings import BFLOAT16, FLOAT32
from headbench.extract.stopwatch import Stopwatch

LOG = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]
Embeddings = NDArray[np.float32]

# Measured with ResNet50 at 224 px on 2 cores: two streams hide each other's gaps (2 to 5 % over
# one), more gain nothing, and 4 to 16 images at once are equally fast.
N_STREAMS = 2
CPU_BATCH = 16
# Not measured: a size at which GPUs are known to be busy, and which fits in 4 GB.
GPU_BATCH = 64
# In OpenVINO a request is the fastest when what a layer makes of it just fits in the processor's
# cache: one image at 224 px (64 images/s; 4 at once 61), 12 at 64 px (more than 600; one 350).
OPENVINO_REQUEST_PX = 224 * 224
# Images in one call: enough that a thread seldom has to ask for more.
OPENVINO_LEAST_BATCH, OPENVINO_MOST = 4, 16
# Of OpenVINO in this process.
FIRST_ARRAY = threading.Lock()


@dataclass(frozen=True)
class Engine:
    """Runs a network.

    Attributes
    ----------
    infer : callable
        Takes uint8 (n, size_px, size_px, 3), RGB, 0-255, and returns float32 (n, dim); no row
        depends on the others. Threads may call it at the same time.
    batch_size, n_streams : int
        Best number of images in one call, and of threads that call it at the same time.
    by_xla : callable or None
        Makes another `infer` of the same network, compiled by XLA; None if there is none.
    """

    name: str
    infer: Callable[[Pixels], Embeddings]
    batch_size: int = CPU_BATCH
    n_streams: int = N_STREAMS
    by_xla: Callable[[], Callable[[Pixels], Embeddings]] | None = None


def tensorflow_engine(build: Callable[[], Any], device: str | None = None) -> Engine:
    """A Keras network on one device, run by TensorFlow; its weights may change between calls.

    Freezing the weights into constants of the graph was measured: no gain, and 4 s more at the
    start. Without a device, TensorFlow chooses.
    """
    tf = load_tensorflow()
    with tf.device(device):
        network = build()

    @tf.function(input_signature=[tf.TensorSpec(network.input_shape, tf.uint8)])  # type: ignore[untyped-decorator]
    def infer(images: Any) -> Any:
        # Here, and not outside: what counts is where the function is traced, at its first call.
        with tf.device(device):
            return network(images, training=False)

    return Engine("TensorFlow", lambda images: infer(tf.constant(images)).numpy())


class UnconvertibleError(Exception):
    """A network that an engine cannot run; the message is the engine's reason."""


def has_openvino() -> bool:
    """Whether OpenVINO is installed; it is not imported."""
    return find_spec("openvino") is not None


def openvino_engine(build: Callable[[], Any], n_views: int = 1, precision: str = FLOAT32) -> Engine:
    """A Keras network run by OpenVINO on the CPU; `DeviceError` if it is not installed.

    The network makes `n_views` pictures of each image.
    """
    return run_by_openvino(openvino_model(build), n_views, precision)


def openvino_model(build: Callable[[], Any]) -> Any:
    """A Keras network as an `openvino.Model`; `DeviceError` if OpenVINO is not installed.

    Raises `UnconvertibleError` for a network that OpenVINO has no operations for.
    """
    if not has_openvino():
        raise DeviceError("--engine openvino: OpenVINO is not installed. Run pip install openvino.")
    network = build()
    import openvino

    # Windows deletes no file that is still open.
    with (
        _unconvertible(),
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
    ):
        path = Path(folder) / "network.pb"
        path.write_bytes(freeze(network))
        return openvino.Core().read_model(path)


def run_by_openvino(source: Any, n_views: int = 1, precision: str = FLOAT32) -> Engine:
    """An `openvino.Model`, or the path of one, run by OpenVINO on the CPU.

    Raises `UnconvertibleError` if OpenVINO cannot run it.
    """
    core = _openvino_for_threads().Core()
    with _unconvertible():
        model = core.read_model(source) if isinstance(source, Path) else source
        _, height, width, channels = (each.get_max_length() for each in model.input().partial_shape)
        pixels = height * width * n_views
        n_images = max(1, min(OPENVINO_MOST, round(OPENVINO_REQUEST_PX / pixels)))
        model.reshape([n_images, height, width, channels])
        compiled = core.compile_model(model, "CPU", _openvino_options(core, precision))
    local = threading.local()

    def infer(images: Pixels) -> Embeddings:
        if not hasattr(local, "request"):
            local.request = compiled.create_infer_request()
        padded = _padded(images, n_images)
        requests = np.split(padded, len(padded) // n_images)
        rows = [local.request.infer({0: request})[0].copy() for request in requests]
        return np.concatenate(rows)[: len(images)]

    n_streams = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
    batch_size = n_images * math.ceil(OPENVINO_LEAST_BATCH / n_images)
    return Engine("OpenVINO", infer, batch_size, n_streams)


def _openvino_for_threads() -> Any:
    """OpenVINO, after its first use of an array.

    There it waits for one lock while it holds that of the interpreter. Two threads that came there
    together waited for each other for ever, in 13 of 100 processes (OpenVINO 2026.4).
    """
    import openvino

    with FIRST_ARRAY:
        openvino.Tensor(np.zeros(1, dtype=np.float32))
    return openvino


@contextmanager
def _unconvertible() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of many kinds
        raise UnconvertibleError(str(error).strip().split("\n", maxsplit=1)[0]) from error


def _openvino_options(core: Any, precision: str) -> dict[str, str]:
    is_bfloat16 = precision == BFLOAT16 and has_bfloat16(core)
    if precision == BFLOAT16 and not is_bfloat16:
        LOG.info(
            "note: this processor has no instructions for bfloat16. OpenVINO computes in float32: "
            "more exactly, and no faster."
        )
    # On processors with bfloat16, OpenVINO uses it by default.
    hint = "bf16" if is_bfloat16 else "f32"
    options = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": hint}
    if THREADS in os.environ:  # else OpenVINO's own choice is better: it counts cores, not threads
        options["INFERENCE_NUM_THREADS"] = os.environ[THREADS]
    return options


def cpu_has_bfloat16() -> bool:
    """Whether OpenVINO is installed, and the processor has instructions for bfloat16."""
    if not has_openvino():
        return False
    import openvino

    return has_bfloat16(openvino.Core())


def has_bfloat16(core: Any) -> bool:
    """Whether the processor has instructions for bfloat16, by OpenVINO's `Core`."""
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def mirrored_engine(build: Callable[[], Any], devices: Devices) -> Engine:
    """A Keras network on each of several devices, which share every batch."""
    tf = load_tensorflow()
    strategy = tf.distribute.MirroredStrategy(list(devices.names))
    with strategy.scope():
        network = build()
    n_devices = strategy.num_replicas_in_sync
    run = partial(_mirrored, strategy, network)
    return Engine("TensorFlow", run(), GPU_BATCH * n_devices, by_xla=partial(run, by_xla=True))


def _mirrored(strategy: Any, network: Any, by_xla: bool = False) -> Callable[[Pixels], Embeddings]:
    """What runs a network on all devices of a strategy; XLA compiles it for each batch size."""
    tf = load_tensorflow()
    n_devices = strategy.num_replicas_in_sync

    @tf.function(reduce_retracing=True, jit_compile=by_xla or None)  # type: ignore[untyped-decorator]
    def embed(images: Any) -> Any:
        return network(images, training=False)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def infer(shares: Any) -> Any:
        return strategy.run(embed, (shares,))

    def run(images: Pixels) -> Embeddings:
        shares = _equal_shares(images, n_devices)
        distributed = strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(shares[context.replica_id_in_sync_group])
        )
        results = strategy.experimental_local_results(infer(distributed))
        return np.concatenate([each.numpy() for each in results])[: len(images)]

    return run


def engine_on(devices: Devices, build: Callable[[], Any], n_views: int = 1) -> Engine:
    """A Keras network run by TensorFlow, on one device or on all of several.

    The network makes `n_views` pictures of each image; memory limits their number.
    """
    if devices.kind == GPU:
        engine = mirrored_engine(build, devices)
    else:
        engine = tensorflow_engine(build, devices.names[0])
    return replace(engine, batch_size=max(1, engine.batch_size // n_views))


def _equal_shares(images: Pixels, n_shares: int) -> list[Pixels]:
    """The images in order, padded so that every device gets equally many."""
    return np.split(_padded(images, n_shares), n_shares)


def _padded(images: Pixels, multiple: int) -> Pixels:
    """The images, with the last one repeated until their number is a multiple."""
    padding = np.repeat(images[-1:], -len(images) % multiple, axis=0)
    return np.concatenate([images, padding])


def halving_engine(engine: Engine) -> Engine:
    """Continue with half the batch when out of memory; `DeviceError` if one image is too much."""
    most = [2**31]  # images at once; shared by the threads that call the engine

    def run(images: Pixels) -> Embeddings:
        n_fitting = most[0]
        if len(images) > n_fitting:
            starts = range(0, len(images), n_fitting)
            return np.concatenate([run(images[start : start + n_fitting]) for start in starts])
        try:
            return engine.infer(images)
        except _out_of_memory() as error:
            if len(images) == 1:
                raise DeviceError(
                    "out of memory with a single image. Use --device cpu, a smaller --size, or a "
                    "smaller --backbone."
                ) from error
            if len(images) // 2 < most[0]:
                most[0] = len(images) // 2
                LOG.info(
                    f"out of memory with {len(images)} images at once: continuing with {most[0]}"
                )
        return run(images)

    return replace(engine, infer=run)


def _out_of_memory() -> tuple[type[Exception], ...]:
    """What TensorFlow raises; nothing if it was never imported."""
    tensorflow = sys.modules.get("tensorflow")
    return (tensorflow.errors.ResourceExhaustedError,) if tensorflow else ()


class Embedded(NamedTuple):
    """Some embeddings, float32 (n, dim), and the positions of their images, int64 (n,)."""

    rows: NDArray[np.int64]
    embeddings: NDArray[np.float32]


class Embedder(Protocol):
    """Turns batches into embeddings."""

    @property
    def batch_size(self) -> int:
        """Number of images in a batch that suits it."""

    @property
    def n_streams(self) -> int:
        """Number of threads that should call `infer` at the same time."""

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings, float32 (n, dim), of one batch of uint8 (n, size_px, size_px, 3)."""

    def __call__(self, batches: Iterable[Batch]) -> Iterator[Embedded]:
        """Embeddings of batches of images, in order."""


@dataclass(frozen=True)
class EngineEmbedder:
    """Sends batches through an engine, `n_streams` at a time; times the stage ``network``."""

    engine: Engine
    batch_size: int
    stopwatch: Stopwatch

    @property
    def n_streams(self) -> int:
        """Number of threads that should call `infer` at the same time."""
        return self.engine.n_streams

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings, float32 (n, dim), of one batch of uint8 (n, size_px, size_px, 3)."""
        with self.stopwatch.measure("network"):
            return self.engine.infer(images)

    def __call__(self, batches: Iterable[Batch]) -> Iterator[Embedded]:
        """Embeddings of batches of images, in order."""

        def embed(batch: Batch) -> Embedded:
            return Embedded(batch.rows, self.infer(batch.images))

        # As many wait as run, so that no stream is idle while results are written.
        return map_ahead(embed, batches, self.n_streams, 2 * self.n_streams)


class Candidate(NamedTuple):
    """An engine, and how far its embeddings may be from the unmodified network's, relative.

    `agreed` is called with the distance that was found, if the engine is taken.
    """

    name: str
    build: Callable[[], Engine]
    tolerance: float
    agreed: Callable[[float], object] = float


def first_that_agrees(
    candidates: Sequence[Candidate], reference: NDArray[np.float32], sample: NDArray[np.uint8]
) -> Engine:
    """The first engine whose embeddings agree with those of the unmodified network.

    Candidates are ordered from the fastest; the last one is the unmodified network itself, and not
    checked. `reference`, float32 (n, dim), are its embeddings of `sample`, which are real images.
    """
    for name, build, tolerance, agreed in candidates[:-1]:
        try:
            engine = build()
        except UnconvertibleError as error:
            LOG.info(f"note: {name} is not used. It cannot run this network ({error}).")
            continue
        difference = relative_difference(engine.infer(sample), reference)
        if difference <= tolerance:
            agreed(difference)
            return engine
        LOG.info(
            f"note: {name} is not used. On the first images its embeddings differ from those of "
            f"the unmodified network by {difference:.1e} (relative), more than {tolerance:.0e}."
        )
    return candidates[-1].build()


def relative_difference(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Largest distance between two embeddings of an image, relative to the expected one."""
    return float(relative_differences(found, expected).max())


def relative_differences(
    found: NDArray[np.float32], expected: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Distance between two embeddings of each image, divided by the length of the expected one.

    Both are float32 (n, dim); returns float64 (n,). It is NaN where an embedding is NaN: that fails
    every comparison, so it counts as different.
    """
    distances = np.linalg.norm(found.astype(np.float64) - expected, axis=1)
    lengths = np.linalg.norm(expected.astype(np.float64), axis=1)
    ratios: NDArray[np.float64] = distances / np.maximum(lengths, np.finfo(np.float32).tiny)
    return ratios
