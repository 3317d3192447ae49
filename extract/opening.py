"""A Keras network opened for inference: the fastest engine that agrees with it is chosen."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extract.devices import CPU, GPU, Devices, describe_devices, find_devices
from extract.embedder import Candidate, EngineEmbedder, first_that_agrees
from extract.engines import (
    engine_on,
    halving_engine,
    has_openvino,
    openvino_engine,
)
from extract.keras_runtime import forbid_tensor_float_32, load_tensorflow
from extract.settings import AUTO, FLOAT32, OPENVINO, Runtime
from extract.stopwatch import Stopwatch

# Relative distance from the untouched network. OpenVINO was measured at 1e-7.
ENGINE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class OpenableNetwork:
    """A network that can be built in two forms.

    Attributes
    ----------
    name : str
        For people.
    build : callable
        Makes the untouched network: a keras.Model that takes uint8 (n, size_px, size_px, 3), RGB,
        0-255, and gives float32 (n, dim).
    fold : callable
        Makes the same with BatchNormalization folded away, from an untouched one in float32 whose
        weights may be shared, or from None: then all is built anew.
    precision : {"float32", "mixed_float16"}
        What the folded form computes in.
    tolerance : float
        How far the folded form may lie from the untouched one, relative.
    """

    name: str
    build: Callable[[], Any]
    fold: Callable[[Any], Any]
    precision: str
    tolerance: float


def open_network(
    network: OpenableNetwork,
    runtime: Runtime,
    sample: NDArray[np.uint8],
    stopwatch: Stopwatch,
    say: Callable[[str], None],
) -> EngineEmbedder:
    """Load a network onto the devices at hand.

    Parameters
    ----------
    network : OpenableNetwork
    runtime : Runtime
    sample : uint8 (n, size_px, size_px, 3)
        Some of the images to come, which every engine is checked on.
    stopwatch : Stopwatch
        Counts the stage ``network``.
    say : callable
        Told of the device, and of what does not work there.

    Raises
    ------
    DeviceError
        If what was asked for is not there.
    """
    devices = find_devices(runtime.device)
    if network.precision == FLOAT32:
        forbid_tensor_float_32()
    # Where the CPU was asked for, a GPU that is there is left alone.
    with load_tensorflow().device(None if devices.kind == GPU else devices.names[0]):
        untouched = network.build()
        # One by one: layer by layer, four at once were measured to take 0.5 GB more.
        singles = (image[np.newaxis] for image in sample)
        rows = [np.asarray(untouched(each, training=False)) for each in singles]
        candidates = [*_candidates(network, untouched, devices, runtime.engine)]
        engine = first_that_agrees(candidates, np.concatenate(rows), sample, say)
    say(f"{network.name} on {describe_devices(devices, runtime.device)}, {engine.name}")
    batch_size = runtime.batch_size or engine.batch_size
    return EngineEmbedder(halving_engine(engine, say), batch_size, stopwatch)


def _candidates(
    network: OpenableNetwork, untouched: Any, devices: Devices, engine: str
) -> Iterator[Candidate]:
    is_float32 = network.precision == FLOAT32
    tolerance = network.tolerance
    build = partial(engine_on, devices)
    is_shared = is_float32 and devices.kind == CPU
    folded = partial(network.fold, untouched if is_shared else None)
    if devices.kind == GPU:
        # cuDNN chooses among algorithms that round differently.
        tolerance = max(tolerance, ENGINE_TOLERANCE)
    elif engine == OPENVINO or (engine == AUTO and is_float32 and has_openvino()):
        openvino = partial(openvino_engine, folded)
        yield Candidate("OpenVINO", openvino, max(tolerance, ENGINE_TOLERANCE))
    yield Candidate("BatchNormalization folded away", partial(build, folded), tolerance)
    yield Candidate("the untouched network", partial(build, network.build), 0)
