"""An ONNX file from pixels on."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from classify.export.exportable import Exportable
from extract.keras_runtime import freeze, load_tensorflow

OPSET = 18
INPUT = "pixels"


def has_onnx() -> bool:
    """Whether the optional packages are installed; nothing is imported."""
    return all(find_spec(name) for name in ("onnx", "onnxruntime", "tf2onnx"))


def write_onnx_file(exported: Exportable, path: Path) -> None:
    """Write a model of ``pixels``, uint8 (n, size_px, size_px, 3); it gives ``probabilities``.

    Class names and provenance are JSON in its metadata, ``classes`` and ``provenance``.
    """
    import onnx
    from tf2onnx import convert

    frozen = load_tensorflow().compat.v1.GraphDef.FromString(freeze(exported.network))
    names = {"images:0": INPUT, f"{frozen.node[-1].name}:0": exported.output}
    with _quiet():
        model, _ = convert.from_graph_def(
            frozen,
            input_names=[next(iter(names))],
            output_names=[[*names][-1]],
            opset=OPSET,
            tensors_to_rename=names,
        )
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    facts = {"classes": exported.classes, "provenance": exported.provenance}
    onnx.helper.set_model_props(
        model, {key: json.dumps(value, ensure_ascii=False) for key, value in facts.items()}
    )
    onnx.save(model, path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what the converter and TensorFlow under it say of their own affairs."""
    before: dict[Any, int] = {}
    for name in ("tensorflow", "tf2onnx"):
        logger = logging.getLogger(name)
        before[logger] = logger.level
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)
