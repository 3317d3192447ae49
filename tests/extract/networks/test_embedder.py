import threading

import numpy as np
import pytest

from headbench.extract.errors import UnusableImageError
from headbench.extract.images.stream import Batch
from headbench.extract.networks.engines import (
    Candidate,
    Engine,
    EngineEmbedder,
    first_that_agrees,
    relative_difference,
    relative_differences,
    tensorflow_engine,
)
from headbench.extract.networks.keras_runtime import load_keras
from headbench.extract.stopwatch import Stopwatch
from tests.conftest import listen


def mean(images: np.ndarray) -> np.ndarray:
    return images.mean(axis=(1, 2)).astype(np.float32)


def batches_of_one(n: int):
    for number in range(n):
        yield Batch(np.array([number]), np.full((1, 4, 4, 3), number, dtype=np.uint8))


def test_streams_run_at_the_same_time_and_results_come_in_order() -> None:
    both = threading.Barrier(2, timeout=10)

    def infer(images: np.ndarray) -> np.ndarray:
        both.wait()  # passes only if two threads are inside
        return mean(images)

    embedder = EngineEmbedder(Engine("two", infer, n_streams=2), 1, Stopwatch())
    rows = [(int(rows[0]), row[0, 0]) for rows, row in embedder(batches_of_one(20))]
    assert rows == [(number, number) for number in range(20)]


def test_an_error_while_decoding_arrives_as_itself() -> None:
    keras = load_keras()
    inputs = keras.Input((4, 4, 3), dtype="uint8")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.ops.cast(inputs, "float32"))

    def batches():
        yield from batches_of_one(5)
        raise UnusableImageError("the sixth one")

    engine = tensorflow_engine(lambda: keras.Model(inputs, pooled))
    embedded = EngineEmbedder(engine, 1, Stopwatch())(batches())
    np.testing.assert_array_equal(next(embedded).embeddings, [[0, 0, 0]])
    with pytest.raises(UnusableImageError, match="the sixth one"):
        list(embedded)


SAMPLE = np.random.default_rng(0).integers(1, 256, (4, 4, 4, 3), dtype=np.uint8)


def candidate(name: str, factor: float, tolerance: float = 1e-4) -> Candidate:
    return Candidate(name, lambda: Engine(name, lambda images: mean(images) * factor), tolerance)


@pytest.mark.parametrize(
    ("factors", "chosen"),
    [((1, 1), "first"), ((1.01, 1), "second"), ((1.01, 0.99), "last"), ((np.nan, 1), "second")],
)
def test_the_first_engine_that_agrees_is_taken(factors: tuple[float, float], chosen: str) -> None:
    said = listen()
    candidates = [candidate("first", factors[0]), candidate("second", factors[1])]
    candidates.append(candidate("last", 1))
    engine = first_that_agrees(candidates, mean(SAMPLE), SAMPLE)
    assert engine.name == chosen
    refused = ["first", "second", "last"].index(chosen)
    assert len(said) == refused
    if factors[0] == 1.01:
        assert said[0].startswith("note: first is not used. On the first images its embeddings")
        assert (
            "from those of the unmodified network by 1.0e-02 (relative), more than 1e-04" in said[0]
        )


def test_the_relative_difference_is_the_largest_of_the_images() -> None:
    expected = np.array([[3, 4], [0, 10], [1, 0]], dtype=np.float32)
    found = np.array([[3, 4], [0, 5], [np.nan, 0]], dtype=np.float32)
    differences = relative_differences(found, expected)
    assert differences[:2].tolist() == [0.0, 0.5]
    assert not differences[2] <= 1e9
    assert relative_difference(found[:2], expected[:2]) == 0.5
    assert relative_difference(expected * 0, expected * 0) == 0
