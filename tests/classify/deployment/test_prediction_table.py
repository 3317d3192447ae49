from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from headbench.classify.deployment import prediction_table
from headbench.classify.deployment.prediction import Prediction
from headbench.classify.deployment.prediction_table import into_parquet

CLASSES = ("blue", "crème", "red")
GIVEN = [
    Prediction(Path("1.jpg"), (("red", 0.5), ("blue", 0.375), ("crème", 0.125)), None, "red"),
    Prediction(Path("bad.jpg"), (), "empty file"),
    Prediction(
        Path("\udcff.jpg"), (("blue", 0.5), ("red", 0.25), ("crème", 0.25)), None, None, True
    ),
]


def test_probabilities_stand_in_the_order_of_the_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_table, "GROUP_ROWS", 2)
    path = tmp_path / "out.parquet"
    passing = into_parquet(iter(GIVEN), path, CLASSES, {Path("1.jpg"): "train"})
    assert next(passing) == GIVEN[0]
    assert not path.exists()
    assert list(passing) == GIVEN[1:]
    found = pd.read_parquet(path)
    expected = [[0.375, 0.125, 0.5], [np.nan] * 3, [0.5, 0.25, 0.25]]
    np.testing.assert_array_equal(np.stack(found["probabilities"]), expected)
    columns = {
        "path": ["1.jpg", "bad.jpg", "\\udcff.jpg"],
        "true": ["red", None, None],
        "label": ["red", None, None],
        "abstained": [False, None, True],
        "seen_in": ["train", None, None],
        "error": [None, "empty file", None],
    }
    for name, values in columns.items():
        assert [None if each != each else each for each in found[name].tolist()] == values, name
