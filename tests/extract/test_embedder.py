import numpy as np
import pytest

from extract.embedder import NetworkEmbedder, as_dataset
from extract.errors import UnusableImageError
from extract.keras_runtime import load_keras, load_tensorflow
from extract.stream import Batch


def test_an_error_while_decoding_arrives_as_itself() -> None:
    keras = load_keras()
    inputs = keras.Input((4, 4, 3), dtype="uint8")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.ops.cast(inputs, "float32"))

    def batches():
        yield Batch(np.array([0]), np.full((1, 4, 4, 3), 7, dtype=np.uint8))
        raise UnusableImageError("the second one")

    embedded = NetworkEmbedder(keras.Model(inputs, pooled))(batches())
    np.testing.assert_array_equal(next(embedded).embeddings, [[7, 7, 7]])
    with pytest.raises(UnusableImageError, match="the second one"):
        next(embedded)


def test_stopping_half_way_is_no_error() -> None:
    tf = load_tensorflow()

    def batches():
        while True:
            yield (np.zeros(1, dtype=np.int32),)

    def stop_half_way() -> None:
        with as_dataset(batches(), (tf.TensorSpec((None,), tf.int32),)) as dataset:
            next(iter(dataset))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_half_way()


def test_an_error_before_the_first_batch_arrives_as_itself() -> None:
    tf = load_tensorflow()

    def batches():
        raise UnusableImageError("the first one")
        yield

    with (
        pytest.raises(UnusableImageError, match="the first one"),
        as_dataset(batches(), (tf.TensorSpec((None,), tf.int32),)) as dataset,
    ):
        list(dataset)
