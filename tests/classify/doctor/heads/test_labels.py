import numpy as np

from classify.doctor.finding import Severity
from classify.doctor.heads.labels import examine_labels, measure_agreement
from classify.doctor.heads.scored import TrainSample
from tests.classify.doctor.heads.made import right_for

RNG = np.random.default_rng(0)


def sample_of(y: np.ndarray, strength: float) -> TrainSample:
    """Embeddings of 32 columns around a mean for each class, more or less far apart."""
    means = np.random.default_rng(1).normal(size=(y.max() + 1, 32))
    X = strength * means[y] + RNG.normal(size=(len(y), 32))
    return TrainSample(X.astype(np.float32), y.astype(np.int32), len(y))


def shuffled(sample: TrainSample) -> TrainSample:
    return TrainSample(sample.X, RNG.permutation(sample.y), sample.n_train)


def test_neighbours_are_counted_without_the_image_itself() -> None:
    X = np.array([[1, 0], [1, 0.1], [-1, 0], [-1, 0.1]], dtype=np.float32)
    agreement = measure_agreement(TrainSample(X, np.array([0, 0, 1, 0], dtype=np.int32), 4))
    assert agreement is not None
    # The nearest of the first two is the other one; that of the last two has another label.
    assert (agreement.n_neighbors, agreement.share) == (1, 0.5)


def test_shuffled_labels_are_severe() -> None:
    sample = shuffled(sample_of(np.arange(400) % 10, 1.0))
    finding = examine_labels(measure_agreement(sample), [right_for(10)], 0.1, False)
    assert finding is not None
    assert (finding.code, finding.severity) == ("labels-look-shuffled", Severity.SEVERE)


def test_right_labels_of_weak_embeddings_are_no_finding() -> None:
    agreement = measure_agreement(sample_of(np.arange(400) % 10, 0.4))
    assert agreement is not None
    assert agreement.share < 0.3
    assert examine_labels(agreement, [right_for(10)], 0.1, False) is None


def test_labels_that_a_head_predicts_are_not_shuffled() -> None:
    agreement = measure_agreement(shuffled(sample_of(np.arange(400) % 10, 1.0)))
    assert examine_labels(agreement, [right_for(10), right_for(30)], 0.1, False) is None


def test_few_images_prove_nothing() -> None:
    agreement = measure_agreement(shuffled(sample_of(np.arange(15) % 3, 1.0)))
    assert agreement is not None
    assert not agreement.is_chance


def test_random_weights_may_be_to_blame_as_well() -> None:
    agreement = measure_agreement(shuffled(sample_of(np.arange(400) % 10, 1.0)))
    finding = examine_labels(agreement, [right_for(10)], 0.1, True)
    assert finding is not None
    assert finding.severity is Severity.WARNING


def test_a_single_image_has_no_neighbours() -> None:
    assert measure_agreement(sample_of(np.array([0]), 1.0)) is None
