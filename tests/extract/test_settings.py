"""Settings that do not exist are refused: a notebook has no parser that would do it."""

from typing import Any

import numpy as np
import pytest

from headbench.extract.errors import DataError
from headbench.extract.settings import ExtractSettings, Runtime


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("pooling", "mean", "pooling: expected avg, max, cls or cls\\+avg, found"),
        (
            "precision",
            "float64",
            "precision: expected auto, float32, bfloat16 or mixed_float16, found",
        ),
        ("store", "int8", "store: expected float32 or float16, found 'int8'"),
        ("device", "cuda", "device: expected auto, cpu or gpu, found 'cuda'"),
        ("engine", "onnx", "engine: expected auto, tensorflow or openvino, found 'onnx'"),
        ("batch_size", 0, "batch_size: expected a whole number from 1 on, found 0"),
        ("size_px", "96", "size: expected a whole number from 1 on, found '96'"),
        ("size_px", 96.0, "size: expected a whole number from 1 on, found 96.0"),
    ],
)
def test_a_setting_that_does_not_exist_is_refused(name: str, value: Any, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        ExtractSettings(**{name: value})


def test_numbers_of_numpy_are_numbers() -> None:
    settings = ExtractSettings(size_px=np.int64(96), batch_size=np.int32(8))
    assert settings.runtime == Runtime(batch_size=8)
