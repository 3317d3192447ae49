import json

import pytest

from cache.reader import FeatureFile
from classify.errors import RunError
from classify.metrics import evaluate
from classify.report.results import collect_results
from classify.run import Run
from classify.train import train_heads


@pytest.fixture
def trained_run(run: Run) -> Run:
    train_heads(run, ["logreg", "lightgbm"], seed=0, say=lambda _: None)
    return run


def test_numbers_are_those_of_the_kept_probabilities(trained_run: Run) -> None:
    results = collect_results(trained_run)
    assert {head["name"] for head in results["heads"]} == {"logreg", "lightgbm"}
    with FeatureFile(trained_run.features_path) as features:
        for head in results["heads"]:
            trained = trained_run.find(head["name"], features)
            for split, proba in (("val", trained.val), ("test", trained.test)):
                metrics = evaluate(features.labels(split), proba)
                assert head[split]["top1"] == metrics.top1._asdict()
                assert head[split]["log_loss"] == metrics.log_loss._asdict()
                assert head[split]["top5"] is None  # three classes


def test_every_number_carries_its_n_and_interval(trained_run: Run) -> None:
    results = collect_results(trained_run)
    for head in results["heads"]:
        for split in ("val", "test"):
            for estimate in filter(None, head[split].values()):
                assert set(estimate) == {"value", "low", "high", "n"}
                assert estimate["n"] == results["features"]["splits"][split]


def test_heads_are_ranked_on_val(trained_run: Run) -> None:
    results = collect_results(trained_run)
    on_val = [head["val"]["top1"]["value"] for head in results["heads"]]
    assert on_val == sorted(on_val, reverse=True)
    assert results["best"] == results["heads"][0]["name"]


def test_what_the_numbers_stand_on_is_named(trained_run: Run) -> None:
    features = collect_results(trained_run)["features"]
    assert features["identity"]["backbone"] == "mean-color"
    assert sum(features["splits"].values()) == features["n_images"] == 90
    assert [each["name"] for each in features["classes"]] == ["blue", "green", "red"]
    assert sum(each["val"] for each in features["classes"]) == features["splits"]["val"]
    assert features["data"]["layout"] == "class folders"


def test_results_are_json(trained_run: Run) -> None:
    results = collect_results(trained_run)
    assert json.loads(json.dumps(results)) == results


def test_nothing_trained_is_an_error_and_not_an_empty_report(run: Run) -> None:
    with pytest.raises(RunError, match="make heads"):
        collect_results(run)
