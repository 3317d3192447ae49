from typing import Any

import numpy as np
import pytest

from headbench.classify.doctor.model.batch_statistics import batch_norms
from headbench.classify.origin.origin_model import (
    digest,
    freeze_as_keras_2_2,
    head_alone,
    origin_model,
)

N_CLASSES = 7


@pytest.fixture
def frozen(base: Any) -> Any:
    """The network as Keras 2.2 froze it."""
    freeze_as_keras_2_2(base)
    return base


def batch(n: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((n, 32, 32, 3), dtype=np.float32), rng.integers(N_CLASSES, size=n)


def test_the_network_is_the_same_bit_for_bit_after_training(frozen: Any) -> None:
    before = digest(frozen)
    model = origin_model(frozen, N_CLASSES, 0)
    head = [layer.get_weights() for layer in model.layers[1:]]
    for _ in range(3):
        model.train_on_batch(*batch())
    assert digest(frozen) == before
    after = [layer.get_weights() for layer in model.layers[1:]]
    assert any(
        not np.array_equal(old, new)
        for one, other in zip(head, after, strict=True)
        for old, new in zip(one, other, strict=True)
    )


def test_the_digest_sees_a_single_moving_mean(frozen: Any) -> None:
    before, [first, *_] = digest(frozen), batch_norms(frozen)
    kept = first.moving_mean.numpy()
    changed = kept.copy()
    changed[0] = np.nextafter(changed[0], np.float32(1))
    first.moving_mean.assign(changed)
    assert digest(frozen) != before
    first.moving_mean.assign(kept)
    assert digest(frozen) == before


def test_only_the_head_trains(frozen: Any) -> None:
    model = origin_model(frozen, N_CLASSES, 0)
    shapes = [tuple(each.shape) for each in model.trainable_variables]
    assert shapes == [(8,), (8,), (8, 512), (512,), (512, N_CLASSES), (N_CLASSES,)]


def test_in_training_an_embedding_depends_on_its_neighbours_and_in_inference_not(
    frozen: Any,
) -> None:
    pixels, _ = batch()
    for training, is_alike in ((True, False), (False, True)):
        among_eight = np.asarray(frozen(pixels, training=training))[:4]
        among_four = np.asarray(frozen(pixels[:4], training=training))
        assert np.allclose(among_eight, among_four, rtol=1e-4, atol=1e-5) is is_alike


def test_the_head_alone_begins_with_the_weights_of_the_whole_model(frozen: Any) -> None:
    whole, alone = origin_model(frozen, N_CLASSES, 5), head_alone(8, N_CLASSES, 5)
    for one, other in zip(whole.layers[1:], alone.layers, strict=True):
        for first, second in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(first, second)
