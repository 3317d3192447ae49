"""The formats of an export: how each is written, and how it is run for the check."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.classify.checked import json_text
from headbench.classify.export.examples import HEAD_FILE
from headbench.classify.export.exportable import PROBABILITIES, Call, Exportable
from headbench.classify.export.pixel_range import EXPECTED, grey_levels, with_grey_levels
from headbench.classify.export.quantization import quantize_onnx_file
from headbench.classify.export.tflite_file import (
    append_facts,
    open_tflite_file,
    write_tflite_file,
)
from headbench.classify.heads.boosting import MODEL_FILE, LightGBM
from headbench.classify.heads.temperature import SMALLEST
from headbench.extract.networks.keras_runtime import (
    freeze,
    load_keras,
    load_tensorflow,
    silenced,
)

OPSET = 18
INPUT = "pixels"
Outputs = NDArray[np.float32]
# Rows of the sample, and what came out for each.
Result = tuple[list[int], Outputs]
Run = Callable[[Exportable, Path, "Sample"], Iterator[Result]]


class Sample(NamedTuple):
    """Some images of test.

    Attributes
    ----------
    pixels : uint8 (n, size_px, size_px, 3)
    """

    data: list[bytes]
    pixels: NDArray[np.uint8]


def as_given(sample: Sample) -> Iterator[NDArray[np.float32]]:
    """The pixels in both ranges that users give: 0-255, and / 255."""
    for divisor in (1, 255):
        yield sample.pixels.astype(np.float32) / np.float32(divisor)


def write_saved_model(exported: Exportable, path: Path) -> None:
    """Write it with three signatures; using it takes nothing but TensorFlow.

    ``serving_default``
        Takes ``image_bytes`` string (n,), whole files. Gives ``probabilities`` float32
        (n, n_classes) and ``label`` string (n,); of a network under trees ``embeddings``.
    ``pixels``
        Takes ``pixels`` float32 (n, size_px, size_px, 3): RGB, upright, resized, 0-255
        or / 255. Raises ``InvalidArgumentError`` for other values.
    ``describe``
        Takes nothing. Gives ``classes`` string (n_classes,) and ``provenance``, JSON.
    """
    # Imported here: it builds on TensorFlow, which --help does without.
    from headbench.classify.export.exif import require
    from headbench.classify.export.graph import decode_batch

    tf = load_tensorflow()
    module, network = tf.Module(), exported.network
    # Tracked one by one: as a model, Keras would save much that serving has no use for.
    module.weights = [each.value for each in network.variables]
    shape = [None, *network.input_shape[1:]]

    def results(pixels: Any) -> dict[str, Any]:
        outputs = network(pixels, training=False)
        if exported.output != PROBABILITIES:
            return {exported.output: outputs}
        label = tf.gather(tf.constant(exported.classes), tf.argmax(outputs, axis=1))
        return {exported.output: outputs, "label": label}

    def of_pixels(pixels: Any) -> dict[str, Any]:
        levels, fits = grey_levels(pixels)
        with require(tf.reduce_all(fits), EXPECTED):
            return results(tf.identity(levels))

    def of_files(image_bytes: Any) -> dict[str, Any]:
        return results(tf.ensure_shape(decode_batch(image_bytes, exported.resizing), shape))

    def describe() -> dict[str, Any]:
        provenance = tf.constant(json.dumps(exported.provenance, ensure_ascii=False))
        return {"classes": tf.constant(exported.classes), "provenance": provenance}

    inputs = {
        "serving_default": (of_files, [tf.TensorSpec([None], tf.string, "image_bytes")]),
        "pixels": (of_pixels, [tf.TensorSpec(shape, tf.float32, "pixels")]),
        "describe": (describe, []),
    }
    signatures = {
        name: tf.function(function, input_signature=specification, autograph=False)
        for name, (function, specification) in inputs.items()
    }
    tf.saved_model.save(module, path, signatures)


def run_saved_model(exported: Exportable, path: Path, sample: Sample) -> Iterator[Result]:
    """Call it with the pixels, and with the files that it can read."""
    tf = load_tensorflow()
    loaded = tf.saved_model.load(path)
    by_pixels, by_file = (loaded.signatures[name] for name in ("pixels", "serving_default"))
    everything = np.zeros((0,), np.float32)
    for pixels in as_given(sample):
        everything = by_pixels(pixels=tf.constant(pixels))[exported.output].numpy()
        yield list(range(len(everything))), everything
    rows, found = [], []
    for row, data in enumerate(sample.data):
        # Of a kind that TensorFlow does not read.
        with suppress(tf.errors.InvalidArgumentError):
            found.append(by_file(image_bytes=tf.constant([data]))[exported.output].numpy())
            rows.append(row)
    yield rows, np.concatenate([everything[:0], *found])


def write_keras_file(exported: Exportable, path: Path) -> None:
    """Write the network of built-in layers, without an optimizer, by `with_grey_levels`.

    The file is a zip archive. Class names and provenance are one more file in it,
    `FACTS_IN_FILE`, which Keras leaves alone.
    """
    with_grey_levels(exported.network).save(path)
    append_facts(exported, path)


def run_keras_file(exported: Exportable, path: Path, sample: Sample) -> Iterator[Result]:  # noqa: ARG001, all runners'
    """Call it with the pixels."""
    network = load_keras().saving.load_model(path, safe_mode=True)
    for pixels in as_given(sample):
        yield list(range(len(pixels))), np.asarray(network(pixels, training=False))


def write_onnx_file(exported: Exportable, path: Path) -> None:
    """Write a model of ``pixels``, uint8 (n, size_px, size_px, 3); it gives ``probabilities``.

    Class names and provenance are JSON in its metadata, ``classes`` and ``provenance``.
    """
    import onnx
    from tf2onnx import convert

    frozen = load_tensorflow().compat.v1.GraphDef.FromString(freeze(exported.network))
    names = {"images:0": INPUT, f"{frozen.node[-1].name}:0": exported.output}
    # Messages of the converter and of TensorFlow are no use here.
    with silenced("tensorflow", "tf2onnx"):
        model, _ = convert.from_graph_def(
            frozen,
            input_names=[next(iter(names))],
            output_names=[[*names][-1]],
            opset=OPSET,
            tensors_to_rename=names,
        )
    _replace_erfc(model.graph)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    facts = exported.facts.items()
    onnx.helper.set_model_props(
        model, {key: json.dumps(value, ensure_ascii=False) for key, value in facts}
    )
    onnx.save(model, path)


def _replace_erfc(graph: Any) -> None:
    """Compute erfc(x), in Keras' GELU, as 1 - erf(x): ONNX has the latter only."""
    from onnx import TensorProto, helper

    rows = [row for row, node in enumerate(graph.node) if node.op_type == "Erfc"]
    for row in reversed(rows):
        node = graph.node[row]
        [output], inner = node.output, f"{node.output[0]}/erf"
        node.op_type, node.output[0] = "Erf", inner
        graph.node.insert(row + 1, helper.make_node("Sub", ["erfc/one", inner], [output]))
    if rows:
        graph.initializer.append(helper.make_tensor("erfc/one", TensorProto.FLOAT, [], [1.0]))


def open_onnx_file(path: Path) -> Call:
    """Open it in one thread."""
    # Imported here: optional.
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(None, {INPUT: pixels})[0]


def write_onnx_int8(exported: Exportable, path: Path) -> None:
    """Write as `write_onnx_file`, then compute the network in int8: see `quantize_onnx_file`."""
    write_onnx_file(exported, path)
    quantize_onnx_file(exported, path)


def run_one_by_one(open_file: Callable[[Path], Call]) -> Run:
    """What runs a file on pixels, an image at a time."""

    def run(exported: Exportable, path: Path, sample: Sample) -> Iterator[Result]:  # noqa: ARG001, all runners'
        call = open_file(path)
        outputs = np.concatenate([call(image[np.newaxis]) for image in sample.pixels])
        yield list(range(len(outputs))), outputs

    return run


class Format(NamedTuple):
    """A row of `FORMATS`.

    Attributes
    ----------
    file : str
        Name of the file or folder.
    packages : tuple of str
        Optional packages that writing it needs.
    open : callable or None
        Opens the file for images one by one, in one thread: it is then measured on images of test.
    is_exact : bool
        It computes in float32, so its probabilities have to equal those of predict.
    is_default : bool
        Written where the user names no format.
    """

    file: str
    write: Callable[[Exportable, Path], None]
    run: Run
    packages: tuple[str, ...] = ()
    open: Callable[[Path], Call] | None = None
    is_exact: bool = True
    is_default: bool = True

    @property
    def is_available(self) -> bool:
        """Whether its packages are installed; they are not imported."""
        return all(find_spec(name) for name in self.packages)


ONNX = Format(
    "model.onnx",
    write_onnx_file,
    run_one_by_one(open_onnx_file),
    ("onnx", "onnxruntime", "tf2onnx"),
    open_onnx_file,
)
TFLITE = Format(
    "model.tflite",
    partial(write_tflite_file, numbers="float32"),
    run_one_by_one(open_tflite_file),
    ("ai_edge_litert",),
    open_tflite_file,
    is_default=False,
)


def _rounded_tflite(numbers: str) -> Format:
    write = partial(write_tflite_file, numbers=numbers)
    return TFLITE._replace(file=f"model-{numbers}.tflite", write=write, is_exact=False)


# To add a format, write two functions and enter them here: one writes the network of an
# `Exportable` with its `facts` to a path; the other runs what was written on a `Sample` and yields
# rows of the sample and the outputs for them, which are then compared with those of predict.
# Command line, check and tests go by this table. The name up to a hyphen is that of its example and
# of its line in the README, and of the extra of its optional packages.
FORMATS = {
    "saved_model": Format("saved_model", write_saved_model, run_saved_model),
    "keras": Format("model.keras", write_keras_file, run_keras_file),
    "onnx": ONNX,
    "onnx-int8": ONNX._replace(
        file="model-int8.onnx", write=write_onnx_int8, is_exact=False, is_default=False
    ),
    "tflite": TFLITE,
    "tflite-float16": _rounded_tflite("float16"),
    "tflite-int8": _rounded_tflite("int8"),
}


def write_trees(exported: Exportable, trees: LightGBM, folder: Path) -> None:
    """Write the files beside the network: trees as LightGBM's text, the head as JSON."""
    (folder / MODEL_FILE).write_text(trees.model_text_, "utf-8", newline="\n")
    facts = {
        **exported.facts,
        # Of the trees' probabilities, each the position of its class; all others are 0.
        "columns": trees.classes_.tolist(),
        "temperature": trees.temperature_,
        # Times the first columns, these are the logits that the trees start from.
        "sharpness": 0.0 if trees.scores_ is None else float(trees.scores_.sharpness),
        "smallest": float(SMALLEST),
    }
    (folder / HEAD_FILE).write_text(json_text(facts), "utf-8", newline="\n")
