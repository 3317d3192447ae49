from pathlib import Path

import pytest

from classify.doctor.model.load import load_user_model
from classify.doctor.model.loss import Loss, read_loss
from extract.keras_runtime import load_keras

CROSSENTROPY = "categorical_crossentropy"


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        (CROSSENTROPY, Loss(CROSSENTROPY, False)),
        (
            {"class_name": "SparseCategoricalCrossentropy", "config": {"from_logits": True}},
            Loss("sparse_categorical_crossentropy", True),
        ),
        ({"class_name": "function", "config": "mse"}, Loss("mse", False)),
        ([CROSSENTROPY], Loss(CROSSENTROPY, False)),
        ({"dense": [CROSSENTROPY]}, Loss(CROSSENTROPY, False)),
        ("bce", Loss("binary_crossentropy", False)),
        ("BCE", Loss("binary_crossentropy", False)),
        ([CROSSENTROPY, "mse"], None),
        ({}, None),
        (None, None),
        ({"config": 3}, None),
    ],
)
def test_a_loss_is_read_as_files_describe_it(described: object, expected: Loss | None) -> None:
    assert read_loss(described, None, None) == expected


def test_the_user_s_word_wins_over_the_file() -> None:
    assert read_loss("mse", "binary_crossentropy", True) == Loss("binary_crossentropy", True)


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
@pytest.mark.parametrize("is_by_name", [False, True])
def test_a_loss_in_a_list_or_by_name_comes_through_a_file(
    tmp_path: Path, name: str, is_by_name: bool
) -> None:
    keras = load_keras()
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="last")])
    model.compile("adam", {"last": CROSSENTROPY} if is_by_name else [CROSSENTROPY])
    model.save(tmp_path / name)
    found = read_loss(load_user_model(tmp_path / name).loss, None, None)
    assert found == Loss(CROSSENTROPY, False)
