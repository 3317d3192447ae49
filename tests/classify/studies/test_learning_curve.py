import json

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.errors import RunError
from headbench.classify.heads.registry import create_head
from headbench.classify.intervals import Estimate
from headbench.classify.report.words import describe_curve
from headbench.classify.run import Run
from headbench.classify.studies.learning_curve import (
    SHARES,
    CurvePoint,
    gain_of_doubling,
    learning_curve,
    nested_ranks,
    read_curve,
)
from headbench.classify.wording import END_OF_RANGE
from tests.conftest import listen


def curve_of(run: Run, n_jobs: int = 2) -> list[CurvePoint]:
    heads = {name: create_head(name, 0) for name in ("ridge", "logreg")}
    with FeatureFile(run.features_path) as features:
        return learning_curve(run.folder, features, heads, 0, n_jobs)


def test_shares_are_nested_and_stratified_and_hold_every_class() -> None:
    y = np.repeat([0, 1, 2], [200, 40, 3])
    ranks = nested_ranks(y, seed=0)
    for share in SHARES:
        counts = np.bincount(y[ranks < share], minlength=3)
        assert (counts >= 1).all()
        np.testing.assert_array_equal(counts, np.ceil(share * np.array([200, 40, 3]) - 1e-9))
    assert (nested_ranks(y, seed=1) != ranks).any()


def test_each_head_is_measured_on_val_at_each_share(run: Run) -> None:
    points = curve_of(run)
    assert [(point.head, point.share) for point in points] == [
        (name, share) for name in ("ridge", "logreg") for share in SHARES
    ]
    n_images = [point.n_images for point in points[: len(SHARES)]]
    assert n_images == sorted(n_images)
    assert points[-1].top1.value > 0.9
    with FeatureFile(run.features_path) as features:
        assert n_images[-1] == len(features.rows("train"))
        assert points[-1].top1.n == len(features.rows("val"))
    assert "in % by share of train (n = " in describe_curve(points)


def test_shares_where_a_limit_ended_a_choice_are_named(run: Run) -> None:
    heads = {"lightgbm": create_head("lightgbm", 0).set_params(max_rounds=1, projection="none")}
    with FeatureFile(run.features_path) as features:
        points = learning_curve(run.folder, features, heads, 0, 1)
    limited = [point.share for point in points if point.is_at_limit]
    assert limited
    assert f"lightgbm {END_OF_RANGE} at " in describe_curve(points)
    assert END_OF_RANGE not in describe_curve(curve_of(run))


def test_nothing_is_fitted_twice_and_what_is_new_is(run: Run) -> None:
    said = listen()
    first = curve_of(run)
    assert curve_of(run, n_jobs=1) == first
    assert said == ["learning curve: 14 fits, 0 reused", "learning curve: 0 fits, 14 reused"]


@pytest.mark.parametrize(
    "change",
    [
        {"n_images": "many"},
        {"right": "zz"},
        {"right": ""},
        {"top1": {"value": 0.5}},
        {"top1": {"value": float("nan"), "low": 0.0, "high": 1.0, "n": 9}},
        {"surprise": 1},
    ],
    ids=str,
)
def test_a_curve_that_is_none_is_one_clear_error(run: Run, change: dict[str, object]) -> None:
    curve_of(run)
    path = run.folder / "learning_curve.json"
    raw = json.loads(path.read_text())
    raw["points"][3]["result"] |= change
    path.write_text(json.dumps(raw))
    with (
        FeatureFile(run.features_path) as features,
        pytest.raises(RunError, match=r"learning_curve\.json: cannot be loaded"),
    ):
        read_curve(run.folder, features)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "Expecting property name"), ("[]", "does not say what it was made with")],
)
def test_a_damaged_file_is_named_and_computed_again(run: Run, text: str, reason: str) -> None:
    said = listen()
    points = curve_of(run)
    path = run.folder / "learning_curve.json"
    path.write_text(text)
    with (
        FeatureFile(run.features_path) as features,
        pytest.raises(RunError, match=rf"{path}: .*{reason}.*run 'headbench heads' .* again"),
    ):
        read_curve(run.folder, features)
    assert curve_of(run) == points
    [line] = [each for each in said if str(path) in each]
    assert reason in line
    assert line.endswith("All its fits are computed again.")
    assert said[-1] == "learning curve: 14 fits, 0 reused"


def right(bits: list[int]) -> str:
    return np.packbits(np.array(bits, dtype=bool)).tobytes().hex()


@pytest.mark.parametrize(
    ("half", "phrase"),
    [([0] * 60 + [1] * 40, "more photographs should help"), ([1] * 99 + [0], "no gain seen")],
)
def test_the_sentence_follows_the_paired_gain(half: list[int], phrase: str) -> None:
    top1 = Estimate(0.5, 0.4, 0.6, 100)
    points = [
        CurvePoint("a", {}, share, 0, round(1000 * share), top1, right(bits))
        for share, bits in ((0.5, half), (1.0, [1] * 100))
    ]
    assert gain_of_doubling(points).value == pytest.approx(1 - np.mean(half))
    assert phrase in describe_curve(points)
