"""Keras networks with their preprocessing, run by the fastest engine that agrees with them."""

import importlib
import io
import logging
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, fields
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.cache.format import RANDOM_WEIGHTS, Identity
from headbench.cache.progress import draws_bars
from headbench.extract.images.resizing import Resizing
from headbench.extract.networks import converted
from headbench.extract.networks.applications import NETWORKS, Network
from headbench.extract.networks.cut import cut_at, global_poolings, load_weights
from headbench.extract.networks.devices import CPU, GPU, Devices, describe_devices, find_devices
from headbench.extract.networks.engines import (
    Candidate,
    Embedder,
    Engine,
    EngineEmbedder,
    UnconvertibleError,
    engine_on,
    first_that_agrees,
    halving_engine,
    has_openvino,
    openvino_model,
    relative_difference,
    run_by_openvino,
)
from headbench.extract.networks.folding import base_of, fold_batch_norms
from headbench.extract.networks.keras_runtime import (
    forbid_tensor_float_32,
    load_keras,
    load_tensorflow,
    numbered_from_zero,
    seeded,
)
from headbench.extract.networks.trial import Choice, on_trial
from headbench.extract.networks.views import N_VIEWS, mean_over_views
from headbench.extract.networks.weights import RANDOM_SEED, Weights, resolve_weights
from headbench.extract.settings import (
    AUTO,
    BFLOAT16,
    CROP,
    FLOAT32,
    IMAGENET,
    MIXED_FLOAT16,
    ONE,
    OPENVINO,
    POOLINGS,
    Runtime,
)
from headbench.extract.stopwatch import Stopwatch

LOG = logging.getLogger(__name__)

# Relative distance from the unmodified network. OpenVINO was measured at 1e-7.
ENGINE_TOLERANCE = 1e-4


# Relative distance from the unmodified Keras network. Folding was measured at 4e-7 and float16 at
# 1e-3; a wrong network is off by more than 0.1. So is bfloat16 for some: up to 0.023 with
# DenseNet169, 0.010 with ResNet50 to conv4, 0.17 with MobileNet 0.25 (32 photographs, 224 px).
FOLDED_TOLERANCE, FLOAT16_TOLERANCE, BFLOAT16_TOLERANCE = 1e-5, 5e-2, 0.25
TOLERANCES = {
    FLOAT32: FOLDED_TOLERANCE,
    MIXED_FLOAT16: FLOAT16_TOLERANCE,
    BFLOAT16: BFLOAT16_TOLERANCE,
}
# Keras' names.
POLICIES = {FLOAT32: FLOAT32, MIXED_FLOAT16: MIXED_FLOAT16, BFLOAT16: "mixed_bfloat16"}


@dataclass(frozen=True)
class OpenableNetwork:
    """A network that can be built in two forms.

    Attributes
    ----------
    key : str
        Of the network as OpenVINO runs it: see `converted.key_of`.
    build : callable
        Makes the unmodified network: a keras.Model that takes uint8 (n, size_px, size_px, 3), RGB,
        0-255, and returns float32 (n, dim).
    fold : callable
        Makes the network with BatchNormalization folded: from an unmodified one in float32, whose
        weights it may share, or from None, for a new one; and the precision of its layers.
    precision : {"float32", "bfloat16", "mixed_float16"}
        Precision in which the network computes.
    tolerance : float
        Largest relative distance of the folded form from the unmodified one.
    n_views : int
        Pictures that it makes of each image.
    """

    name: str
    key: str
    build: Callable[[], Any]
    fold: Callable[[Any, str], Any]
    precision: str
    tolerance: float
    n_views: int = 1

    @property
    def openvino_tolerance(self) -> float:
        """The same for OpenVINO."""
        return max(self.tolerance, ENGINE_TOLERANCE)


def open_network(
    network: OpenableNetwork, runtime: Runtime, sample: NDArray[np.uint8], stopwatch: Stopwatch
) -> EngineEmbedder:
    """Load a network onto the available devices; `DeviceError` if a requested device is missing.

    Every engine is checked on `sample`: some of the images, uint8 (n, size_px, size_px, 3). Where
    OpenVINO runs a network that was converted and checked before, TensorFlow is not imported.
    """
    devices = find_devices(runtime.device)
    opened = None
    if _by_openvino(network, devices, runtime.engine):
        opened = _open_converted(network, len(sample))
    engine, how = opened or _open_checked(network, devices, runtime, sample)
    LOG.info(f"{network.name} on {describe_devices(devices, runtime.device)}, {engine.name}{how}")
    batch_size = runtime.batch_size or engine.batch_size
    return EngineEmbedder(halving_engine(engine), batch_size, stopwatch)


def _by_openvino(network: OpenableNetwork, devices: Devices, engine: str) -> bool:
    if devices.kind == GPU:
        return False
    is_default = engine == AUTO and network.precision != MIXED_FLOAT16
    return engine == OPENVINO or (is_default and has_openvino())


def _open_converted(network: OpenableNetwork, n_images: int) -> tuple[Engine, str] | None:
    """The network as it was converted and checked before, and a phrase that says so.

    One that was checked on fewer than `n_images` is converted again.
    """
    found = converted.find(network.key) if has_openvino() else None
    if found is None or found.check.n_images < n_images:
        return None
    try:
        engine = run_by_openvino(found.path, network.n_views, network.precision)
    except UnconvertibleError as error:
        LOG.info(f"note: {found.path}: cannot be read ({error}). The network is converted again.")
        return None
    return engine, f"; converted before, and {found.check}"


def _open_checked(
    network: OpenableNetwork, devices: Devices, runtime: Runtime, sample: NDArray[np.uint8]
) -> tuple[Engine, str]:
    """The fastest form that agrees with the unmodified network on `sample`."""
    if network.precision == FLOAT32:
        forbid_tensor_float_32()
    # If the CPU was chosen, an existing GPU is not used.
    with load_tensorflow().device(None if devices.kind == GPU else devices.names[0]):
        untouched = network.build()
        # One by one: layer by layer, four at once were measured to take 0.5 GB more.
        singles = (image[np.newaxis] for image in sample)
        rows = [np.asarray(untouched(each, training=False)) for each in singles]
        checked = CheckedImages(sample, np.concatenate(rows))
        candidates = [*_candidates(network, untouched, devices, runtime.engine, checked)]
        found = first_that_agrees(candidates, checked.embeddings, sample)
    if devices.kind == GPU:
        choice = Choice.of(untouched, network.precision, devices)
        tolerance = max(network.tolerance, ENGINE_TOLERANCE)
        found = on_trial(found, choice, tolerance, runtime.batch_size)
    return found, ""


class CheckedImages(NamedTuple):
    """Images, uint8 (n, size_px, size_px, 3), and what the unmodified network makes of them."""

    images: NDArray[np.uint8]
    embeddings: NDArray[np.float32]


def _candidates(
    network: OpenableNetwork, untouched: Any, devices: Devices, engine: str, checked: CheckedImages
) -> Iterator[Candidate]:
    tolerance = network.tolerance
    build = partial(engine_on, devices, n_views=network.n_views)
    is_cpu = devices.kind == CPU
    policy = POLICIES[network.precision]

    def fold(policy: str) -> Any:
        return network.fold(untouched if is_cpu and policy == FLOAT32 else None, policy)

    if _by_openvino(network, devices, engine):
        # Converted in float32: OpenVINO itself computes in bfloat16.
        openvino = _Conversion(
            network, partial(fold, FLOAT32 if network.precision == BFLOAT16 else policy), checked
        )
        yield Candidate("OpenVINO", openvino.run, network.openvino_tolerance, openvino.keep)
    if not is_cpu:
        # cuDNN chooses among algorithms that round differently.
        tolerance = max(tolerance, ENGINE_TOLERANCE)
    yield Candidate("folded BatchNormalization", partial(build, partial(fold, policy)), tolerance)
    yield Candidate("the unmodified network", partial(build, network.build), 0)


@dataclass
class _Conversion:
    """A network that is converted for OpenVINO, and kept once it has passed the check."""

    network: OpenableNetwork
    fold: Callable[[], Any]
    checked: CheckedImages
    model: Any = None

    def run(self) -> Engine:
        self.model = openvino_model(self.fold)
        if self.network.precision == BFLOAT16:
            self._require_exact(run_by_openvino(self.model, self.network.n_views))
        return run_by_openvino(self.model, self.network.n_views, self.network.precision)

    def _require_exact(self, engine: Engine) -> None:
        """Check the conversion in float32: the rounding of bfloat16 could hide what is wrong."""
        images, expected = self.checked
        difference = relative_difference(engine.infer(images), expected)
        if not difference <= ENGINE_TOLERANCE:
            raise UnconvertibleError(f"in float32 its embeddings differ by {difference:.1e}")

    def keep(self, difference: float) -> None:
        n_images = len(self.checked.images)
        check = converted.Check(difference, self.network.openvino_tolerance, n_images)
        dim = self.model.output().partial_shape[1].get_max_length()
        converted.keep(self.network.key, self.model, self.network.name, dim, check)
        self.model = None


@dataclass(frozen=True)
class KerasNetwork(ABC):
    """A Keras network without its classifier, pooled, in inference mode.

    Each kind of network says where it comes from: `weights`, `preprocessing` and `preprocess`,
    `built_dim`, `base` and `depths_of`.

    Attributes
    ----------
    name : str
        In the fingerprint.
    weights_source : str
        ``imagenet``, ``random`` or a path.
    pooling : {"avg", "max", "cls", "cls+avg"}
    precision : {"float32", "bfloat16", "mixed_float16"}
    resize : {"crop", "squash", "letterbox", "none"}
    layer : str
        Layers that it is cut at, joined by commas; empty for its last one.
    views : {"one", "flip", "5crop"}
        Views of each picture whose embeddings are averaged.
    """

    name: str
    weights_source: str
    size_px: int
    pooling: str = POOLINGS[0]
    precision: str = FLOAT32
    resize: str = CROP
    layer: str = ""
    views: str = ONE

    def __getstate__(self) -> dict[str, Any]:
        # Another process finds its weights itself, in whatever folder it works.
        state: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        if self.weights_source not in (IMAGENET, RANDOM_WEIGHTS):
            state["weights_source"] = os.path.abspath(self.weights_source)
        return state

    @cached_property
    def dim(self) -> int:
        """Length of an embedding; builds the network if that is not known from before."""
        return converted.known_dim(self.key) or self.built_dim()

    @abstractmethod
    def built_dim(self) -> int:
        """Length of an embedding; builds the network where nothing else tells it."""

    @cached_property
    def key(self) -> str:
        """Of the network as OpenVINO runs it: see `converted.key_of`."""
        return converted.key_of(self.identity.fingerprint)

    @property
    @abstractmethod
    def weights(self) -> Weights:
        """The weights, found or downloaded."""

    @property
    @abstractmethod
    def preprocessing(self) -> str:
        """What `preprocess` does, in words; in the fingerprint."""

    @abstractmethod
    def preprocess(self, pixels: Any) -> Any:
        """Keras tensor of pixels, float32 RGB, 0-255, to what `base` takes."""

    @abstractmethod
    def base(self) -> Any:
        """The keras.Model without preprocessing, in float32, with its weights.

        It takes preprocessed pixels, (n, size_px, size_px, 3), and returns (n, dim). Raises
        `WeightsError` if the weights belong to another network.
        """

    @abstractmethod
    def depths_of(self, base: Any) -> dict[str, int]:
        """Block of each layer of `base`, counted from the end: 0 is the last block."""

    @property
    def resizing(self) -> Resizing:
        """From a picture of any size to the square that the network takes."""
        return Resizing.for_views(self.size_px, self.resize, self.views)

    @cached_property
    def identity(self) -> Identity:
        """What determines its embeddings."""
        return Identity(
            backbone=self.name,
            weights_hash=self.weights.hash,
            preprocessing=self.preprocessing,
            size_px=self.size_px,
            resize=self.resizing.words,
            pooling=self.pooling,
            precision=self.precision,
            layer=self.layer,
            views="" if self.views == ONE else self.views,
        )

    def network(self) -> Any:
        """The keras.Model in float32 with its weights, frozen, including the preprocessing.

        It takes uint8 (n, side, side, 3), RGB, 0-255, where the side is that of `resizing`, and
        returns float32 (n, dim). Raises `WeightsError` if the weights belong to another network.
        """
        return self.with_preprocessing(self.base())

    def folded_network(self, base: Any = None, policy: str | None = None) -> Any:
        """The network for inference only: BatchNormalization folded, in the backbone's precision.

        `base` is the float32 network without preprocessing, if it exists already; `policy` another
        precision, by Keras' name.
        """
        with _dtype_policy(policy or POLICIES[self.precision]):
            folded = fold_batch_norms(base or self.base())
        _pool_in_float32(folded)
        return self.with_preprocessing(folded)

    def open(self, runtime: Runtime, sample: NDArray[np.uint8], stopwatch: Stopwatch) -> Embedder:
        """Load the network, and check it on `sample`, some of the images to come."""
        forms = OpenableNetwork(
            self.name,
            self.key,
            self.network,
            self._fold,
            self.precision,
            TOLERANCES[self.precision],
            N_VIEWS[self.views],
        )
        return open_network(forms, runtime, sample, stopwatch)

    def _fold(self, untouched: Any, policy: str) -> Any:
        return self.folded_network(None if untouched is None else base_of(untouched), policy)

    def with_preprocessing(self, base: Any) -> Any:
        """Freeze `base`, a model made from it, or its first part; put preprocessing before it.

        The keras.Model takes uint8 (n, side, side, 3), RGB, 0-255, where the side is that of
        `resizing`, and returns what `base` does, in float32: the mean over the views.
        """
        keras, side = load_keras(), self.resizing.size_px
        inputs = keras.Input((side, side, 3), dtype="uint8", name="rgb")
        base.trainable = False

        def embed(pixels: Any) -> Any:
            return keras.ops.cast(base(self.preprocess(pixels), training=False), "float32")

        outputs = mean_over_views(
            embed, keras.ops.cast(inputs, "float32"), self.views, self.size_px
        )
        # TensorFlow takes no colon in a name.
        name = self.name.replace(":", "_")
        return keras.Model(inputs, outputs, name=f"{name}_with_preprocessing")


@dataclass(frozen=True)
class KerasBackbone(KerasNetwork):
    """A network of keras.applications without its top; its `name` is a key of `NETWORKS`."""

    @property
    def facts(self) -> Network:
        """The row of the table for this network."""
        return NETWORKS[self.name]

    def built_dim(self) -> int:
        """Length of an embedding; a network that is cut has to be built for it."""
        return int(self._cut(self._built()).output_shape[1]) if self.layer else self.facts.dim

    @cached_property
    def weights(self) -> Weights:
        """The weights, found or downloaded."""
        return resolve_weights(self.weights_source, self.facts.imagenet_file, self._fetch)

    @property
    def preprocessing(self) -> str:
        """What `preprocess` does, in words; in the fingerprint."""
        return self.facts.preprocessing

    def preprocess(self, pixels: Any) -> Any:
        """Keras tensor of pixels, float32 RGB, 0-255, to what `base` takes."""
        load_keras()
        module = importlib.import_module(f"keras.applications.{self.facts.module}")
        return module.preprocess_input(pixels, data_format="channels_last")

    def depths_of(self, base: Any) -> dict[str, int]:
        """Block of each layer of `base`, counted from the end: 0 is the last block."""
        blocks, depths = self.facts.blocks, {}
        depth = len(blocks)
        for layer in base.layers:
            if depth and layer.name.startswith(blocks[depth - 1]):
                depth -= 1
            depths[layer.name] = depth
        # Of a network that is cut, the last block is the one that the cut is in.
        return {name: each - depth for name, each in depths.items()}

    def base(self) -> Any:
        """The keras.Model without preprocessing, in float32, with its weights.

        It takes preprocessed pixels, (n, size_px, size_px, 3), and returns (n, dim). Raises
        `WeightsError` if the weights belong to another network, `DataError` if it cannot be cut at
        `layer`.
        """
        whole = self._built()
        base = self._cut(whole)
        if self.weights.path is not None:
            load_weights(whole, base, self.weights.path, self.facts.application)
        return base

    def _built(self) -> Any:
        """The whole network, with weights that were just drawn."""
        is_random = self.weights.path is None
        with seeded(RANDOM_SEED) if is_random else nullcontext(), numbered_from_zero():
            return self._application()(
                include_top=False,
                weights=None,
                pooling=self.pooling,
                input_shape=(self.size_px, self.size_px, 3),
                **self.facts.arguments,
            )

    def _cut(self, whole: Any) -> Any:
        return cut_at(whole, self.layer, self.pooling) if self.layer else whole

    def _application(self) -> Any:
        return getattr(load_keras().applications, self.facts.application)

    def _fetch(self) -> None:
        # At the size of their training: some networks warn at any other.
        shape = (224, 224, 3)
        make = self._application()
        # Keras draws a bar on standard output, where a command may have other things to write.
        with redirect_stdout(sys.stderr if draws_bars() else io.StringIO()):
            make(include_top=False, weights=IMAGENET, input_shape=shape, **self.facts.arguments)


@contextmanager
def _dtype_policy(name: str) -> Iterator[None]:
    """Dtype in which layers built inside compute; their weights stay float32."""
    config = load_keras().config
    before = config.dtype_policy()
    config.set_dtype_policy(name)
    try:
        yield
    finally:
        config.set_dtype_policy(before)


def _pool_in_float32(base: Any) -> None:
    """Keep a mean over thousands of float16 activations from being rounded to float16 again."""
    pooling = global_poolings()
    rows = [row for row, layer in enumerate(base.layers) if isinstance(layer, pooling)]
    first = rows.pop() if rows else len(base.layers)
    # A network that is cut at several layers ends in as many of them.
    while rows and rows[-1] == first - 1:
        first = rows.pop()
    for layer in base.layers[first:]:
        layer.dtype_policy = FLOAT32
