import json
import shlex

import jsonschema
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.errors import RunError
from headbench.classify.heads.registry import create_head
from headbench.classify.metrics import evaluate
from headbench.classify.report.results import SCHEMA_VERSION
from headbench.classify.report.write import write_report
from headbench.classify.run import Run
from headbench.classify.studies.folds import cross_validate
from headbench.classify.studies.learning_curve import learning_curve
from headbench.classify.train_heads import train_heads
from tests.classify.report.conftest import HOSTILE, HOSTILE_FILE, TEXT_FILE
from tests.classify.report.schema import PATH, schema

SCHEMA = json.loads(PATH.read_text("utf-8"))


@pytest.fixture
def trained_run(run: Run) -> Run:
    train_heads(run, ["logreg", "lightgbm"], seed=0)
    return run


def check(results: dict) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    assert [error.message for error in validator.iter_errors(results)] == []


def test_the_schema_is_one_and_every_part_of_it_is_required() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["schema_version"]["const"] == SCHEMA_VERSION
    assert set(SCHEMA["required"]) == set(SCHEMA["properties"])
    assert SCHEMA["additionalProperties"] is False


def test_the_schema_is_made_from_the_classes() -> None:
    assert schema() == SCHEMA, "run 'python -m tests.classify.report.schema'"


def test_results_are_as_the_schema_says(results: dict) -> None:
    check(results)
    assert json.loads(json.dumps(results)) == results


def test_results_with_every_study_are_as_the_schema_says(trained_run: Run) -> None:
    heads = {"logreg": create_head("logreg", 0)}
    with FeatureFile(trained_run.features_path) as features:
        learning_curve(trained_run.folder, features, heads, 0, 1)
        cross_validate(trained_run.folder, features, heads, 3, 0, 1)
    found = write_report(trained_run).to_json()
    check(found)
    assert len(found["folds"]) == 3
    assert len(found["learning_curve"]) == 7
    assert found["suspects"]["head"] == "logreg"
    assert found["suspects"]["n_looked_at"] == found["features"]["n_images"]


def test_a_missing_and_a_needless_key_are_no_results(results: dict) -> None:
    for changed in ({**results, "more": 1}, {"schema_version": SCHEMA_VERSION}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(changed, SCHEMA)


def test_numbers_are_those_of_the_kept_probabilities(trained_run: Run) -> None:
    results = write_report(trained_run).to_json()
    assert {head["name"] for head in results["heads"]} == {"logreg", "lightgbm"}
    with FeatureFile(trained_run.features_path) as features:
        for head in results["heads"]:
            trained = trained_run.find(head["name"], features)
            assert head["n_bytes"] == trained.n_bytes > 100
            assert head["predict_seconds"] == trained.record.predict_seconds > 0
            for split, proba in (("val", trained.val), ("test", trained.test)):
                metrics = evaluate(features.labels(split), proba)
                assert head[split]["top1"] == metrics.top1._asdict()
                assert head[split]["log_loss"] == metrics.log_loss._asdict()
                assert head[split]["top5"] is None  # three classes


def test_every_number_carries_its_n_and_interval(results: dict) -> None:
    for head in results["heads"]:
        for split in ("val", "test"):
            for estimate in filter(None, head[split].values()):
                assert estimate["n"] == results["features"]["splits"][split]


def test_heads_are_ranked_on_val(results: dict) -> None:
    on_val = [head["val"]["balanced_accuracy"]["value"] for head in results["heads"]]
    assert on_val == sorted(on_val, reverse=True)
    assert results["best"] == results["shown"] == results["heads"][0]["name"]


def test_what_the_numbers_stand_on_is_named(results: dict) -> None:
    features = results["features"]
    assert features["identity"]["backbone"] == "mean-color"
    assert sum(features["splits"].values()) == features["n_images"] == 181
    assert [each["name"] for each in features["classes"]] == sorted(HOSTILE)
    assert sum(each["val"] for each in features["classes"]) == features["splits"]["val"]
    assert features["data"]["layout"] == "class folders"
    assert {each["path"]: each["reason"] for each in features["rejected"]} == {
        f"{HOSTILE[0]}/{HOSTILE_FILE}": "empty file",
        f"{HOSTILE[-1]}/{TEXT_FILE}": "text, not an image",
    }


def test_the_commands_that_made_it_are_named_in_order(results: dict, hostile_run: Run) -> None:
    extraction, report = results["commands"]
    assert extraction.startswith("headbench features ")
    for words in (
        f"--name {shlex.quote(str(hostile_run.folder))}",
        "--backbone mean-color",
        "--size 16",
        "--seed 0",
        "--weights",
    ):
        assert words in extraction
    assert report == "headbench report '<i>run<i>'"


def test_a_copy_under_two_labels_is_found(results: dict) -> None:
    exact = [pair for pair in results["duplicates"]["pairs"] if pair["is_exact"]]
    paths = {frozenset((pair["first"]["path"], pair["second"]["path"])) for pair in exact}
    assert frozenset((f"{HOSTILE[0]}/1.png", f"{HOSTILE[1]}/copy.png")) in paths


def test_confusions_are_of_the_head_that_is_shown(own_run: Run, results: dict) -> None:
    other = results["heads"][-1]["name"]
    found = write_report(own_run, head=other).to_json()
    assert found["shown"] == other
    assert found["best"] == results["best"]
    n_wrong = round(
        (1 - found["heads"][-1]["test"]["top1"]["value"]) * found["features"]["splits"]["test"]
    )
    assert sum(each["n"] for each in found["confusions"]) == n_wrong > 0


def test_a_head_that_is_not_there_and_a_run_without_heads_are_errors(
    own_run: Run, run: Run
) -> None:
    with pytest.raises(RunError, match=r"'mlp' is not trained here \(trained: "):
        write_report(own_run, head="mlp")
    with pytest.raises(RunError, match="heads"):
        write_report(run)
