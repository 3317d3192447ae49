import csv
import io
import json
from pathlib import Path

from classify.deploy import Prediction
from classify.predictions import as_csv, as_json, as_table

PREDICTIONS = [
    Prediction(Path("a, b.jpg"), (("crème", 0.75), ('"pie"', 0.25)), None),
    Prediction(Path("bad.jpg"), (), "empty file"),
]


def test_csv_can_be_read_back_whatever_the_names() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(PREDICTIONS))))
    assert rows[0] == {
        "path": "a, b.jpg",
        "class_1": "crème",
        "probability_1": "0.750000",
        "class_2": '"pie"',
        "probability_2": "0.250000",
        "error": "",
    }
    assert rows[1]["error"] == "empty file"
    assert rows[1]["class_1"] == ""


def test_json_says_the_same() -> None:
    assert json.loads(as_json(PREDICTIONS)) == [
        {
            "path": "a, b.jpg",
            "predictions": [
                {"class": "crème", "probability": 0.75},
                {"class": '"pie"', "probability": 0.25},
            ],
            "error": None,
        },
        {"path": "bad.jpg", "predictions": [], "error": "empty file"},
    ]


def test_the_table_has_a_line_a_file() -> None:
    assert as_table(PREDICTIONS).splitlines() == [
        'a, b.jpg  crème 0.750   "pie" 0.250',
        "bad.jpg   UNUSABLE: empty file",
    ]
