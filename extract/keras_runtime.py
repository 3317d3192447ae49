"""The one place that imports TensorFlow and Keras: set up, quiet, and only when needed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


@cache
def load_keras() -> Any:
    """Import Keras on TensorFlow; takes 4 to 13 seconds the first time.

    Returns
    -------
    module
        ``keras``.
    """
    # Off by default on some processors, where it makes ResNet50 train three times faster. Has to
    # be set before TensorFlow is imported; whoever has set it keeps their choice.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # A user's ~/.keras/keras.json may name another backend or axis order for their own work.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with _quiet_import():
        import keras
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    for gpu in gpus:
        # Else TensorFlow takes the whole memory of each GPU that it sees.
        tf.config.experimental.set_memory_growth(gpu, True)
    return keras


def load_tensorflow() -> Any:
    """TensorFlow, set up by `load_keras`."""
    load_keras()
    import tensorflow as tf

    return tf


def describe_device() -> str:
    """Where networks run, in words; says so when a GPU is there and cannot be used."""
    gpus = load_tensorflow().config.list_physical_devices("GPU")
    if gpus:
        return f"{len(gpus)} GPU" + ("s" if len(gpus) > 1 else "")
    if shutil.which("nvidia-smi"):
        return (
            "CPU: nvidia-smi is here, but TensorFlow sees no GPU. 'make install EXTRAS=gpu' brings "
            "CUDA; TF_CPP_MIN_LOG_LEVEL=0 shows what TensorFlow says"
        )
    return f"CPU, {os.cpu_count()} cores"


@contextmanager
def _quiet_import() -> Iterator[None]:
    """Hold back what TensorFlow's C++ side writes to stderr on import, unless the import fails.

    Its notices on machines without a GPU come whatever its log level says. Anyone who has set that
    level sees them.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
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
