"""A TensorFlow SavedModel that takes image files."""

import json
from pathlib import Path
from typing import Any

from classify.export.exportable import PROBABILITIES, Exportable
from classify.export.graph.decoding import decode_batch
from extract.keras_runtime import load_tensorflow


def write_saved_model(exported: Exportable, path: Path) -> None:
    """Write it with three signatures; it needs nothing but TensorFlow.

    ``serving_default``
        Takes ``image_bytes`` string (n,), whole files. Gives ``probabilities`` float32
        (n, n_classes) and ``label`` string (n,); of a network under trees ``embeddings``.
    ``pixels``
        Takes ``pixels`` uint8 (n, size_px, size_px, 3): RGB, upright, resized and cropped.
    ``describe``
        Takes nothing. Gives ``classes`` string (n_classes,) and ``provenance``, JSON.
    """
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

    def of_files(image_bytes: Any) -> dict[str, Any]:
        return results(tf.ensure_shape(decode_batch(image_bytes, exported.size_px), shape))

    def describe() -> dict[str, Any]:
        text = json.dumps(exported.provenance, ensure_ascii=False)
        return {"classes": tf.constant(exported.classes), "provenance": tf.constant(text)}

    inputs = {
        "serving_default": (of_files, [tf.TensorSpec([None], tf.string, "image_bytes")]),
        "pixels": (results, [tf.TensorSpec(shape, tf.uint8, "pixels")]),
        "describe": (describe, []),
    }
    signatures = {
        name: tf.function(function, input_signature=specification, autograph=False)
        for name, (function, specification) in inputs.items()
    }
    tf.saved_model.save(module, path, signatures)
