import importlib

import numpy as np
import pytest

from headbench.classify.doctor.scalings import (
    BGR_SCALINGS,
    PREPROCESS_INPUT,
    SCALINGS,
    taken_by,
    twin,
    which_scaling,
)
from headbench.classify.doctor.script import parse_script
from headbench.extract.networks.applications import NETWORKS
from headbench.extract.networks.keras_runtime import load_keras

COLORS = np.random.default_rng(0).integers(0, 256, size=(16, 3), dtype=np.uint8)


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
def test_a_scaling_is_what_keras_calls_so(mode: str) -> None:
    load_keras()
    utils = importlib.import_module("keras.applications.imagenet_utils")
    expected = utils.preprocess_input(COLORS.astype(np.float32), mode=mode)
    np.testing.assert_allclose(SCALINGS[mode](COLORS), expected, atol=1e-4)


def test_each_network_takes_what_its_own_preprocessing_makes() -> None:
    keras = load_keras()
    for facts in NETWORKS.values():
        module = getattr(keras.applications, facts.module)
        own = module.preprocess_input(COLORS[None, None].astype(np.float32))[0, 0]
        np.testing.assert_allclose(taken_by(facts.preprocessing)(COLORS), own, atol=1e-4)


def test_preprocess_input_of_each_module_is_known_for_what_it_does() -> None:
    applications = load_keras().applications
    modules = {
        name
        for name in dir(applications)
        if hasattr(getattr(applications, name), "decode_predictions")
    }
    assert modules == set(PREPROCESS_INPUT)
    for name in modules:
        made = getattr(applications, name).preprocess_input(COLORS[None, None].astype(np.float32))
        np.testing.assert_allclose(SCALINGS[PREPROCESS_INPUT[name]](COLORS), made[0, 0], atol=1e-4)


@pytest.mark.parametrize("name", SCALINGS)
def test_pixels_that_opencv_read_are_told_from_rgb(name: str) -> None:
    bgr = BGR_SCALINGS[twin(name)]
    np.testing.assert_allclose(bgr(COLORS), SCALINGS[name](COLORS[:, ::-1]), rtol=1e-6)
    assert which_scaling(COLORS, bgr(COLORS)) == bgr
    # The command line takes it as one word.
    assert parse_script([f"scaling={bgr.name}"]).scaling == bgr.name
    assert " " not in bgr.name


def test_two_scalings_one_after_the_other_are_both() -> None:
    both = SCALINGS["caffe"].then(SCALINGS["torch"])
    expected = SCALINGS["torch"](SCALINGS["caffe"](COLORS))
    np.testing.assert_allclose(both(COLORS), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SCALINGS)
def test_a_scaling_is_told_by_what_became_of_colours(name: str) -> None:
    before = COLORS.copy()
    assert which_scaling(COLORS, SCALINGS[name](COLORS)) == SCALINGS[name]
    np.testing.assert_array_equal(COLORS, before)


def test_pixels_preprocessed_twice_are_told() -> None:
    found = which_scaling(COLORS, SCALINGS["caffe"](SCALINGS["caffe"](COLORS)))
    assert found
    assert found.name == "caffe, then caffe"


def test_what_is_no_scaling_is_not_called_one() -> None:
    assert which_scaling(COLORS, COLORS.astype(np.float32) ** 2) is None
    assert which_scaling(COLORS, np.full((16, 3), np.nan)) is None
