"""ONNX in int8, and the images of train that give the ranges of its activations."""

from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.classify.errors import RunError
from headbench.classify.export.exportable import Exportable
from headbench.classify.labelled_files import open_split
from headbench.classify.report.opened_run import OpenedRun
from headbench.extract.images.stream import ImageFile, decoded_images
from headbench.extract.networks.keras_runtime import silenced
from headbench.extract.stopwatch import Stopwatch

N_CALIBRATION = 200

# What is computed in int8. Where BatchNormalization is no part of a convolution, and where outputs
# are joined, one range for all channels would cost accuracy: those stay in float32.
IN_INT8 = ("Conv", "MatMul", "Gemm", "Relu", "Clip")


def spread_over_classes(labels: NDArray[np.integer], n_most: int) -> NDArray[np.intp]:
    """Positions of a sample that has each class by its share; ascending, the same every time."""
    shuffled = np.random.default_rng(0).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    places = np.linspace(0, len(labels) - 1, min(n_most, len(labels))).round().astype(int)
    return np.sort(by_class[places])


def sampled_images(
    opened: OpenedRun, split: str, n_most: int
) -> Iterator[tuple[int, ImageFile, NDArray[np.uint8]]]:
    """Some images of a split, each class by its share, decoded; without those that are gone.

    Yields
    ------
    int
        The position in the split.
    ImageFile
    uint8 (size_px, size_px, 3)
    """
    if not opened.images.is_there:
        return
    there = open_split(opened.features, split, opened.images)
    rows = spread_over_classes(there.labels, n_most).tolist()
    files = [there.files[row] for row in rows]
    for each in decoded_images(files, there.resizing, lambda *_: None, Stopwatch()):
        yield rows[each.row], files[each.row], each.image


def calibration_images(opened: OpenedRun) -> Iterator[NDArray[np.uint8]]:
    """Images of train for int8: at most 200, the same every time; `RunError` if there are none."""
    n_given = 0
    for _, _, image in sampled_images(opened, "train", N_CALIBRATION):
        yield image
        n_given += 1
    if not n_given:
        raise RunError(
            f"{opened.images.name}: int8 needs images of train for the ranges of its numbers, "
            "found none that can be read. Name their folder with --data."
        )


def quantize_onnx_file(exported: Exportable, path: Path) -> None:
    """Compute the network of an ONNX file in int8, its head in float32.

    Convolutions and products carry their ranges in the file (QDQ): weights by channel, activations
    within the ranges that they have on the images of `Exportable.calibration`.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.images = exported.calibration()

        def get_next(self) -> dict[str, Any] | None:
            image = next(self.images, None)
            return None if image is None else {model.graph.input[0].name: image[np.newaxis]}

    with TemporaryDirectory() as folder, silenced("root"):
        prepared = Path(folder, "prepared.onnx")
        quant_pre_process(path, prepared, skip_symbolic_shape=True)
        model = onnx.load(prepared)
        quantize_static(
            prepared,
            path,
            Images(),
            QuantFormat.QDQ,
            [*IN_INT8],
            per_channel=True,
            nodes_to_exclude=_head_of(model.graph),
        )


def _head_of(graph: Any) -> list[str]:
    """Names of the nodes behind the last convolution and its activation."""
    nodes = list(graph.node)
    last = max((row for row, node in enumerate(nodes) if node.op_type == "Conv"), default=-1)
    rest = dropwhile(lambda node: node.op_type in ("Relu", "Clip"), nodes[last + 1 :])
    return [node.name for node in rest]
