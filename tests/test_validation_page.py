"""What docs/validation-at-chance.md says to do does what it says."""

import re
from typing import Any

import numpy as np
import pytest

from headbench.classify.doctor.model.anatomy import batch_norms
from headbench.extract.networks.keras_runtime import load_keras
from tests.conftest import write_class_folders
from tests.pages import blocks, text_of

PAGE = text_of("docs/validation-at-chance.md")
RECIPE, FINE_TUNING = (each.text for each in blocks("docs/validation-at-chance.md", "python"))
CHOICE = 'folder, size, weights = "photos", 224, "imagenet"\n'


def test_each_mistake_is_told_with_its_log_its_finding_and_its_cure() -> None:
    listed = text_of("docs/doctor.md")
    mistakes = PAGE.split("## The four mistakes")[1].split("\n## ")[0].split("\n\n**")[1:]
    assert len(mistakes) == 4
    for mistake in mistakes:
        [codes] = re.findall(r"^- \*The doctor\*: (.*)", mistake, flags=re.MULTILINE)
        assert "- *In the log*: " in mistake
        assert "- *The cure*: " in mistake
        for code in re.findall("`(.*?)`", codes):
            assert f"`{code}`" in listed


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the recipe leaves behind, on three colours with random weights."""
    photos = write_class_folders(tmp_path_factory.mktemp("page") / "photos")
    load_keras().utils.set_random_seed(0)
    assert CHOICE in RECIPE
    found: dict[str, Any] = {"folder": str(photos), "size": 32, "weights": None}
    exec(RECIPE.replace(CHOICE, ""), found)  # noqa: S102, our own text
    return found


def test_the_recipe_trains_on_what_the_whole_model_sees(names: dict[str, Any]) -> None:
    assert len(names["y"]) == 72
    assert len(names["y_val"]) == 18
    for images, labels in names["val"]:
        whole = names["model"].predict_on_batch(images)
        right = names["head"].predict_on_batch(names["embed"].predict_on_batch(images))
        np.testing.assert_allclose(whole, right, rtol=1e-3, atol=1e-5)
        assert whole.shape == (len(labels), 3)
    # From 0 to 255 and BGR with the mean subtracted: nothing is scaled before.
    pixels = np.concatenate([x for x, _ in names["train"]])
    assert pixels.max() > 200
    preprocess = load_keras().applications.resnet50.preprocess_input
    expected = names["base"].predict_on_batch(preprocess(pixels[:8].copy()))
    found = names["embed"].predict_on_batch(pixels[:8])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.long
def test_fine_tuning_moves_weights_and_no_batch_normalization(names: dict[str, Any]) -> None:
    exec(FINE_TUNING, names)  # noqa: S102, our own text
    base = names["base"]
    still = {id(each) for layer in batch_norms(base) for each in layer.variables}
    before = [each.numpy().copy() for each in base.variables]
    images, labels = next(iter(names["train"]))
    names["model"].train_on_batch(images, labels)
    moved = [
        not np.array_equal(each.numpy(), old)
        for each, old in zip(base.variables, before, strict=True)
    ]
    assert sum(moved) > 50
    assert not any(
        is_moved for each, is_moved in zip(base.variables, moved, strict=True) if id(each) in still
    )
