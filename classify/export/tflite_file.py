"""TensorFlow Lite, for phones and boards: float32, float16 or int8, one image at a time.

All three take uint8 pixels and give float32 probabilities, so an app changes nothing but the file.
"""

import warnings
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from headbench.classify.checked import json_text
from headbench.classify.errors import RunError
from headbench.classify.export.exportable import Call, Exportable
from headbench.extract.networks.keras_runtime import load_tensorflow, quiet_stderr, silenced

# In a .keras file, which is a zip archive, and in one that is appended to a .tflite file.
FACTS_IN_FILE = "headbench.json"
# One class a line, as MediaPipe and Android Studio expect it.
LABELS_IN_FILE = "labels.txt"
# The head stays in float32: columns that hardly vary have weights up to a million.
IN_FLOAT32 = ("FULLY_CONNECTED", "LOG_SOFTMAX", "SOFTMAX")
WAY_OUT = "Leave this format out with --formats, or try tflite-float16 or onnx."


def write_tflite_file(exported: Exportable, path: Path, numbers: str) -> None:
    """Write a model of ``pixels``, uint8 (1, size_px, size_px, 3), to ``probabilities``.

    Class names and provenance are in a zip archive behind the model, which interpreters leave
    alone.

    Parameters
    ----------
    numbers : {"float32", "float16", "int8"}
        ``float16``: weights are kept in float16. ``int8``: weights, and all activations within the
        ranges that they have on the images of `Exportable.calibration`.

    Raises
    ------
    RunError
        If TensorFlow Lite lacks an operation of the network.
    """
    tf = load_tensorflow()
    function = _one_image(exported.network, exported.output)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())
    if numbers != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if numbers == "float16":
        converter.target_spec.supported_types = [tf.float16]
    convert = partial(_in_int8, converter, exported) if numbers == "int8" else converter.convert
    # Of the interpreter that calibrates, and of ranges for the input, which stays as it is.
    with warnings.catch_warnings(), silenced("absl", "tensorflow"), quiet_stderr():
        warnings.simplefilter("ignore")
        try:
            path.write_bytes(convert())
        except Exception as error:
            # `tf.lite`'s own error is in no public module.
            if type(error).__name__ != "ConverterError":
                raise
            raise RunError(
                f"{path.name}: TensorFlow Lite cannot convert this network: "
                f"{str(error).splitlines()[0][:200]}. {WAY_OUT}"
            ) from error
    append_facts(exported, path)


def _in_int8(converter: Any, exported: Exportable) -> bytes:
    lite = load_tensorflow().lite

    def images() -> Iterator[list[Any]]:
        return ([image[np.newaxis]] for image in exported.calibration())

    converter.representative_dataset = images
    converter.target_spec.supported_ops = [lite.OpsSet.TFLITE_BUILTINS_INT8]
    options = lite.experimental.QuantizationDebugOptions(denylisted_ops=[*IN_FLOAT32])
    debugger = lite.experimental.QuantizationDebugger(
        converter=converter, debug_dataset=images, debug_options=options
    )
    return bytes(debugger.get_nondebug_quantized_model())


def _one_image(network: Any, output: str) -> Any:
    """The network as a function of one image, its weights constants of it."""
    tf = load_tensorflow()
    variables = (network.trainable_variables, network.non_trainable_variables)
    weights = [[each.numpy() for each in some] for some in variables]

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def infer(pixels: Any) -> Any:
        constants = ([tf.constant(each) for each in some] for some in weights)
        return {output: network.stateless_call(*constants, pixels, training=False)[0]}

    shape = (1, *network.input_shape[1:])
    return infer.get_concrete_function(tf.TensorSpec(shape, tf.uint8, "pixels"))


def append_facts(exported: Exportable, path: Path) -> None:
    """Put class names and provenance into a file: into its zip archive, or into one behind it."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(FACTS_IN_FILE, json_text(exported.facts))
        if path.suffix == ".tflite":
            archive.writestr(LABELS_IN_FILE, "".join(f"{name}\n" for name in exported.classes))


def open_tflite_file(path: Path) -> Call:
    """Open it with LiteRT in one thread; `RunError` if LiteRT cannot run it, as phones do."""
    # Imported here: optional.
    from ai_edge_litert.interpreter import Interpreter

    try:
        with quiet_stderr():
            interpreter = Interpreter(str(path), num_threads=1)
            interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise RunError(f"{path.name}: LiteRT cannot run it: {error}. {WAY_OUT}") from error
    [taken], [given] = interpreter.get_input_details(), interpreter.get_output_details()

    def call(pixels: Any) -> Any:
        interpreter.set_tensor(taken["index"], pixels)
        interpreter.invoke()
        return interpreter.get_tensor(given["index"])

    return call
