import csv
import io
import json
from pathlib import Path

from headbench.classify.deployment.prediction import Prediction
from headbench.classify.deployment.prediction_formats import FORMATS, Shape
from headbench.classify.deployment.uncertainty import Doubt

PREDICTIONS = [
    Prediction(Path("a, b.jpg"), (("crème", 0.75), ('"pie"', 0.25)), None),
    Prediction(Path("bad.jpg"), (), "empty file"),
]
LABELLED = [
    Prediction(Path("red/1.jpg"), (("blue", 0.4), ("red", 0.3)), None, "red", True),
    Prediction(Path("1.jpg"), (("blue", 0.9), ("red", 0.1))),
]


DOUBTED = [
    LABELLED[1]._replace(doubt=Doubt(0.0123, True, ("blue", 'a "b"; c'))),
    LABELLED[1]._replace(doubt=Doubt(0.5, False, ("blue",))),
    PREDICTIONS[1],
]


def text(name: str, predictions: list[Prediction] = PREDICTIONS) -> str:
    paths = [each.path for each in predictions]
    has_sets = any(each.doubt.possible is not None for each in predictions)
    shape = Shape.of(paths, 2, any(each.true is not None for each in predictions), has_sets)
    return "".join(FORMATS[name](iter(predictions), shape))


def test_csv_can_be_read_back_whatever_the_names() -> None:
    rows = list(csv.DictReader(io.StringIO(text("csv"))))
    assert rows[0] == {
        "path": "a, b.jpg",
        "label": "crème",
        "abstained": "no",
        "class_1": "crème",
        "probability_1": "0.750000",
        "class_2": '"pie"',
        "probability_2": "0.250000",
        "typicality": "",
        "out_of_distribution": "",
        "error": "",
    }
    assert rows[1]["error"] == "empty file"
    assert rows[1]["class_1"] == ""


def test_json_says_the_same() -> None:
    assert json.loads(text("json")) == [
        {
            "path": "a, b.jpg",
            "label": "crème",
            "abstained": False,
            "predictions": [
                {"class": "crème", "probability": 0.75},
                {"class": '"pie"', "probability": 0.25},
            ],
            "typicality": None,
            "out_of_distribution": None,
            "error": None,
        },
        {
            "path": "bad.jpg",
            "label": None,
            "abstained": None,
            "predictions": [],
            "typicality": None,
            "out_of_distribution": None,
            "error": "empty file",
        },
    ]


def test_the_table_has_a_line_a_file() -> None:
    assert text("table").splitlines() == [
        'a, b.jpg  crème 0.750   "pie" 0.250',
        "bad.jpg   UNUSABLE: empty file",
    ]


def test_json_lines_are_the_objects_of_json() -> None:
    for predictions in (PREDICTIONS, LABELLED):
        lines = text("jsonl", predictions).splitlines()
        assert list(map(json.loads, lines)) == json.loads(text("json", predictions))


def test_truth_and_abstention_are_in_every_format() -> None:
    first, second = csv.DictReader(io.StringIO(text("csv", LABELLED)))
    assert (first["true"], first["label"], first["abstained"]) == ("red", "", "yes")
    assert (first["class_1"], first["probability_1"]) == ("blue", "0.400000")
    assert (second["true"], second["label"], second["abstained"]) == ("", "blue", "no")
    [one, other] = json.loads(text("json", LABELLED))
    assert (one["true"], one["label"], one["abstained"]) == ("red", None, True)
    assert (other["true"], other["label"], other["abstained"]) == (None, "blue", False)
    assert text("table", LABELLED).splitlines() == [
        "red/1.jpg  ABSTAINED: blue 0.400   red 0.300   (true: red)",
        "1.jpg      blue 0.900   red 0.100",
    ]


def test_doubts_are_in_every_format() -> None:
    rows = list(csv.DictReader(io.StringIO(text("csv", DOUBTED))))
    columns = ("typicality", "out_of_distribution", "set")
    assert [tuple(row[name] for name in columns) for row in rows] == [
        ("0.012300", "yes", '["blue", "a \\"b\\"; c"]'),
        ("0.500000", "no", '["blue"]'),
        ("", "", ""),
    ]
    assert json.loads(rows[0]["set"]) == ["blue", 'a "b"; c']
    objects = json.loads(text("json", DOUBTED))
    assert [tuple(each[name] for name in columns) for each in objects] == [
        (0.0123, True, ["blue", 'a "b"; c']),
        (0.5, False, ["blue"]),
        (None, None, None),
    ]
    assert text("table", DOUBTED).splitlines() == [
        "1.jpg    NONE OF THE CLASSES? (typicality 0.012): blue 0.900   red 0.100   "
        '(set: blue, a "b"; c)',
        "1.jpg    blue 0.900   red 0.100   (set: blue)",
        "bad.jpg  UNUSABLE: empty file",
    ]


def test_a_name_that_is_not_utf_8_can_be_printed() -> None:
    odd = [Prediction(Path("\udcff.jpg"), (("red", 1.0),))]
    for name in FORMATS:
        assert "xff.jpg" in text(name, odd).encode().decode()


def test_every_prediction_is_text_before_the_next_is_asked_for() -> None:
    for name, write in FORMATS.items():
        waiting = iter(PREDICTIONS)
        found = write(waiting, Shape(9, 2))
        while "b.jpg" not in next(found):
            pass
        assert next(waiting).reason == "empty file", name
