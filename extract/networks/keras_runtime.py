"""The one place that imports TensorFlow and Keras: set up, quiet, and only when needed."""

import io
import logging
import math
import os
import random
import tempfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import h5py

from headbench.cache.untrusted import leads_elsewhere, open_archive
from headbench.extract.errors import DataError

# The content of a .keras file may be this many times as long; Keras itself compresses nothing.
KERAS_GROWTH = 50
# Of the fine-tuned network of a preset.
HUB_MODULE = b'"keras_hub.'
LOG_LEVEL, QUIET_LEVEL = "TF_CPP_MIN_LOG_LEVEL", "2"
# Read at once: tf2onnx sets that level too, later on.
IS_LEVEL_CHOSEN = os.environ.get(LOG_LEVEL, QUIET_LEVEL) != QUIET_LEVEL


@cache
def load_keras() -> Any:
    """Import Keras on TensorFlow; takes 4 to 13 seconds the first time."""
    # Off by default on some processors, where it makes ResNet50 train three times faster. Has to
    # be set before TensorFlow is imported; a value that is set already stays.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # A user's ~/.keras/keras.json may name another backend or axis order for their own work.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with quiet_stderr():
        os.environ.setdefault(LOG_LEVEL, QUIET_LEVEL)
        import keras
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
    tf.get_logger().addFilter(_is_worth_saying)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    for gpu in gpus:
        # Otherwise TensorFlow takes the whole memory of each GPU that it sees.
        tf.config.experimental.set_memory_growth(gpu, True)
    return keras


def load_tensorflow() -> Any:
    """TensorFlow, set up by `load_keras`."""
    load_keras()
    import tensorflow as tf

    return tf


@cache
def load_keras_hub() -> Any:
    """Import KerasHub; `DataError` if it is not installed."""
    load_keras()
    try:
        with quiet_stderr():
            import keras_hub
    except ImportError as error:
        raise DataError(
            f'KerasHub cannot be imported ({error}). Run pip install "headbench[hub]".'
        ) from error
    return keras_hub


def load_saved(path: Path, **options: Any) -> Any:
    """Load a model from a file; no code in it is run, and nothing outside it is read.

    `options` are those of `keras.saving.load_model`. Raises `ValueError` for what leads elsewhere
    in a ``.keras`` file and for layers that declare more weights than there are, and else whatever
    Keras does.
    """
    n_bytes = path.stat().st_size
    if path.suffix == ".keras":
        with open_archive(path, KERAS_GROWTH) as archive:
            n_bytes = bytes_of_weights(archive)
            if HUB_MODULE in archive.read("config.json"):
                # Registers its layers, which are as safe as those of Keras.
                load_keras_hub()
    with building_at_most(n_bytes):
        return load_keras().saving.load_model(path, safe_mode=True, **options)


@contextmanager
def building_at_most(n_weights: int) -> Iterator[None]:
    """Raise `ValueError` before the layers that are built inside have more weights than that.

    What a file describes is built before its weights are read: a layer of a billion units takes
    memory, whatever the weights are. Each weight takes a byte of the file, or more.
    """
    layer = load_keras().layers.Layer
    add_weight, n_declared = layer.add_weight, 0

    def counted(self: Any, shape: Any = (), *args: Any, **options: Any) -> Any:
        nonlocal n_declared
        n_declared += shape if isinstance(shape, int) else math.prod(shape or ())
        if n_declared > n_weights:
            raise ValueError(
                f"its layers up to {self.name!r} declare {n_declared} weights, more than fit in "
                f"the {n_weights} bytes of weights in the file"
            )
        return add_weight(self, shape, *args, **options)

    layer.add_weight = counted
    try:
        yield
    finally:
        layer.add_weight = add_weight


def bytes_of_weights(archive: zipfile.ZipFile) -> int:
    """Bytes of the weights in a ``.keras`` file.

    Raises `ValueError` if they would be read from another file.
    """
    members = [each for each in archive.infolist() if each.filename.endswith(".h5")]
    for member in members:
        with open_weights(archive, member):
            pass
    return sum(member.file_size for member in members)


@contextmanager
def open_weights(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[h5py.File]:
    """Weights in a ``.keras`` file; `ValueError` if they would be read from another file."""
    # To go back in what is compressed, all before it would be read again.
    is_stored = member.compress_type == zipfile.ZIP_STORED
    with (
        archive.open(member) if is_stored else io.BytesIO(archive.read(member)) as stored,
        h5py.File(stored, "r") as file,
    ):
        if found := leads_elsewhere(file):
            raise ValueError(f"{member.filename}: {found}")
        yield file


def load_open_model(file: Any) -> Any:
    """Load a model, not compiled, from an open `h5py.File`; no code in it is run.

    `keras.saving.load_model` takes paths alone, and a file may be in memory. Raises `ValueError`
    for layers that declare more weights than there are.
    """
    load_keras()
    from keras.src.legacy.saving.legacy_h5_format import load_model_from_hdf5

    with building_at_most(file.id.get_filesize()):
        return load_model_from_hdf5(file, compile=False, safe_mode=True)


@contextmanager
def quiet_keras() -> Iterator[None]:
    """Hide Keras' advice on how a model is written: it may be a stranger's model."""
    # First: the import sets filters too, which the end of the context would undo.
    load_keras()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"keras\.")
        yield


@contextmanager
def silenced(*names: str, level: int = logging.CRITICAL) -> Iterator[None]:
    """Hide messages of some loggers below a level."""
    before = {logging.getLogger(name): logging.getLogger(name).level for name in names}
    for logger in before:
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, own in before.items():
            logger.setLevel(own)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let layers that are built inside start from the same numbers every time.

    Keras draws a seed for each from Python's own generator. Other threads draw from that too, such
    as those of a Dask worker, and then every machine would get another network.
    """
    load_keras().utils.set_random_seed(seed)
    from keras.src.random import seed_generator

    shared = seed_generator.python_random
    seed_generator.python_random = random.Random(seed)  # noqa: S311, not for cryptography
    try:
        yield
    finally:
        seed_generator.python_random = shared


@contextmanager
def numbered_from_zero() -> Iterator[None]:
    """Give layers without names that are built inside those of a new process: conv2d, conv2d_1.

    Keras counts them from the start of the process, so names depend on what was built before.
    """
    load_keras()
    from keras.src.backend.common import global_state

    key, counts = "object_name_uids", Counter[str]()
    before = global_state.get_global_attribute(key, {})
    global_state.set_global_attribute(key, counts)
    try:
        yield
    finally:
        # The larger count of each: what is built on top later gets no name twice.
        global_state.set_global_attribute(key, counts | Counter(before))


def forbid_tensor_float_32() -> None:
    """Keep GPUs from rounding float32 to TensorFloat-32 in products, their default."""
    load_tensorflow().config.experimental.enable_tensor_float_32_execution(False)


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hide what TensorFlow's C++ side writes to stderr, unless the code inside fails.

    Some of its notices ignore the log level. If the user has set that level, nothing is hidden.
    """
    if IS_LEVEL_CHOSEN:
        yield
        return
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except BaseException:
            held_back.seek(0)
            os.write(stderr, held_back.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _is_worth_saying(record: logging.LogRecord) -> bool:
    # Functions are traced once for each network and size of a batch, of which we make several.
    return "triggered tf.function retracing" not in record.getMessage()


def freeze(network: Any) -> bytes:
    """A Keras network as a TensorFlow graph whose weights are constants.

    The network takes uint8 of its `input_shape`. Returns the graph in inference mode, a serialised
    ``GraphDef``; its one input is called ``images``.
    """
    tf = load_tensorflow()
    variables = (network.trainable_variables, network.non_trainable_variables)
    weights = [[each.numpy() for each in some] for some in variables]

    # TensorFlow's own conversion of variables to constants takes three times as long.
    @tf.function  # type: ignore[untyped-decorator]
    def infer(images: Any) -> Any:
        constants = ([tf.constant(each) for each in some] for some in weights)
        return network.stateless_call(*constants, images, training=False)[0]

    pixels = tf.TensorSpec(network.input_shape, tf.uint8, name="images")
    graph = infer.get_concrete_function(pixels).graph
    frozen = graph.as_graph_def()
    _leave_out_unused(frozen, graph.outputs[0].op.name)
    nodes = {node.name: node for node in frozen.node}
    # Large arrays that a layer holds beside its weights become inputs.
    for array, placeholder in graph.captures:
        node = nodes[placeholder.op.name]
        node.op = "Const"
        node.attr.pop("shape", None)
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(array.numpy()))
    return bytes(frozen.SerializeToString())


def _leave_out_unused(graph: Any, output: str) -> None:
    """Delete operations that the output does not need: OpenVINO would take them for outputs."""
    needed = {output}
    # Every operation stands behind those that it reads.
    for row, node in reversed([*enumerate(graph.node)]):
        if node.name in needed:
            needed |= {name.lstrip("^").split(":")[0] for name in node.input}
        elif node.op != "Placeholder":
            del graph.node[row]
