import numpy as np
import pytest

from cache.reader import FeatureFile
from classify.doctor.features.network import Condition, MeanColorRerun, open_rerun
from classify.run import Run
from extract.errors import WeightsError
from extract.scalings import SCALINGS

IMAGES = np.random.default_rng(0).integers(0, 256, size=(40, 32, 32, 3), dtype=np.uint8)


def test_mean_colours_are_scaled_as_pixels_are() -> None:
    image = np.zeros((1, 2, 2, 3), dtype=np.uint8)
    image[0, 0, 0] = (200, 100, 40)
    caffe = MeanColorRerun().embed(image, Condition(SCALINGS["caffe"]))
    assert caffe == pytest.approx(np.array([[10 - 103.939, 25 - 116.779, 50 - 123.68]]))
    assert MeanColorRerun().declared.words == "raw, inference mode"


def test_the_declared_way_is_first_and_every_scaling_is_tried() -> None:
    ways = MeanColorRerun().conditions
    assert ways[0].scaling.name == "raw"
    assert {way.scaling.name for way in ways} == set(SCALINGS)
    assert not any(way.by_batch for way in ways)


def test_a_network_gives_its_own_embeddings_in_the_declared_way(network_run: Run) -> None:
    with FeatureFile(network_run.features_path) as features:
        rerun = open_rerun(features.identity, "random")
    assert rerun.declared == Condition(SCALINGS["caffe"])
    assert len(rerun.conditions) == 2 * len(SCALINGS)
    whole = rerun.embed(IMAGES, rerun.declared)
    assert whole.shape == (40, 2048)
    # In inference mode batch-mates do not matter; by the batch they do.
    alone = rerun.embed(IMAGES[:1], rerun.declared)
    assert np.allclose(alone[0], whole[0], rtol=1e-4, atol=1e-5)
    by_batch = Condition(SCALINGS["caffe"], by_batch=True)
    first = rerun.embed(IMAGES[:8], by_batch)
    second = rerun.embed(IMAGES[[0, *range(8, 15)]], by_batch)
    assert np.linalg.norm(first[0] - second[0]) > 0.01 * np.linalg.norm(first[0])
    again = rerun.embed(IMAGES, rerun.declared)
    assert np.array_equal(again, whole)


def test_other_weights_are_refused(network_run: Run) -> None:
    with FeatureFile(network_run.features_path) as features, pytest.raises(WeightsError):
        open_rerun(features.identity, "gone.weights.h5")
