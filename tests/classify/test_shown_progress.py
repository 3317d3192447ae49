"""What is shown of long steps: each counts its own unit, to what is left."""

from collections.abc import Sequence

import keras
import numpy as np
import pytest

from headbench.cache.progress import Progress
from headbench.cache.reader import FeatureFile
from headbench.classify.doctor.examine import examine, sort_targets
from headbench.classify.doctor.model.measured import Sample, measure
from headbench.classify.doctor.script import ScriptSettings
from headbench.classify.heads import mlp
from headbench.classify.heads.boosting import LightGBM
from headbench.classify.heads.registry import create_head
from headbench.classify.inspection.near_duplicates import Duplicates, find_duplicates
from headbench.classify.report import write
from headbench.classify.report.write import PICTURES, write_report
from headbench.classify.run import Record, Run
from headbench.classify.studies.folds import cross_validate
from headbench.classify.train_heads import train_heads
from headbench.classify.train_settings import TrainSettings
from tests.classify.test_heads import separable
from tests.conftest import Bar


def fit_of(bars: Sequence[Bar], name: str) -> Bar:
    [fit] = [bar for bar in bars if bar.desc == f"{name} fit"]
    return fit


def n_images(run: Run, split: str) -> int:
    with FeatureFile(run.features_path) as features:
        return len(features.rows(split))


def record_of(run: Run, name: str) -> Record:
    with FeatureFile(run.features_path) as features:
        return run.find(name, features).record


@pytest.mark.parametrize(
    ("name", "unit", "curve"),
    [
        ("knn", "numbers of neighbours", "neighbors"),
        ("ridge", "values of alpha", "alpha"),
        ("logreg", "values of C", "C"),
        ("lightgbm", "rounds", "train_log_loss"),
        ("mlp-128", "epochs", "train_loss"),
    ],
)
def test_a_head_counts_its_own_unit(
    run: Run, bars: list[Bar], name: str, unit: str, curve: str
) -> None:
    train_heads(run, [name], 0)
    fit = fit_of(bars, name)
    assert fit.unit == unit
    assert fit.n == len(record_of(run, name).history[curve])
    assert all(bar.is_closed for bar in bars)
    n_val = n_images(run, "val")
    assert [bar.n for bar in bars if bar.desc == f"{name} predict val"] == [n_val]


def test_principal_axes_are_counted_by_images_streamed_or_not(run: Run, bars: list[Bar]) -> None:
    for stream in ("never", "always"):
        train_heads(run, ["ridge"], 0, TrainSettings(stream=stream, again=True))
    n_train = n_images(run, "train")
    axes = [bar for bar in bars if bar.desc == "ridge principal axes"]
    assert [(bar.n, bar.total) for bar in axes] == 2 * [(n_train, n_train)]


@pytest.mark.usefixtures("bars")
def test_a_plan_that_is_prolonged_is_shown_as_long_as_it_becomes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    totals, update = [], Bar.update

    def note(bar: Bar, n: int) -> None:
        update(bar, n)
        totals.append(bar.total)

    monkeypatch.setattr(Bar, "update", note)
    monkeypatch.setattr(mlp, "has_gained", lambda *_: True)
    monkeypatch.setattr(mlp, "n_plans", lambda *_: 2)
    head = create_head("mlp-8", 0).set_params(batch_size=1000, patience=1000)
    monkeypatch.setattr(mlp, "PLANNED_STEPS", 10)
    head.fit(*separable(2))
    assert totals == 10 * [10] + 10 * [20]


def test_scores_for_trees_are_counted_by_folds(bars: list[Bar]) -> None:
    X, y, X_val, y_val = separable(2)
    # Labels that no tree can tell apart: a fit with nothing to gain would end after a round.
    LightGBM(projection="scores", max_rounds=3).fit(X, y, X_val, np.roll(y_val, 1))
    assert [(bar.desc, bar.n, bar.unit) for bar in bars] == [
        ("class scores", 5, "folds"),
        ("fit", 3, "rounds"),
    ]


def test_a_study_counts_fits_and_shows_no_bar_for_each(run: Run, bars: list[Bar]) -> None:
    heads = {name: create_head(name, 0) for name in ("prior", "ridge")}
    heads["mlp-8"] = create_head("mlp-8", 0).set_params(max_epochs=1)
    with FeatureFile(run.features_path) as features:
        cross_validate(run.folder, features, heads, 3, 0, 2)
    assert [(bar.desc, bar.n, bar.total, bar.unit) for bar in bars] == [("folds", 9, 9, "fits")]


def test_each_step_of_a_report_is_counted(
    run: Run, bars: list[Bar], monkeypatch: pytest.MonkeyPatch
) -> None:
    train_heads(run, ["prior", "centroid"], 0)

    def search(features: FeatureFile) -> Duplicates:
        with Progress("near-duplicates", 1, "groups of images") as progress:
            return progress.counting(find_duplicates)(features)

    # In another thread; among so few images there is no search that would be counted.
    monkeypatch.setattr(write, "find_duplicates", search)
    bars.clear()
    write_report(run)
    assert all(bar.is_closed for bar in bars)
    counted = {bar.desc: (bar.n, bar.unit) for bar in bars if bar.n == bar.total}
    assert counted["measure"] == (2, "heads")
    assert counted["draw"] == (len(PICTURES), "pictures")
    assert counted["near-duplicates"] == (1, "groups of images")
    assert counted["thumbnails"][0] > 0


def test_the_doctor_counts_blocks_and_heads(run: Run, bars: list[Bar]) -> None:
    train_heads(run, ["prior", "centroid"], 0)
    bars.clear()
    examine(sort_targets([run.folder]), ScriptSettings())
    counted = {bar.desc: bar.n for bar in bars if bar.n == bar.total and bar.is_closed}
    assert counted["verify"] > 0
    assert counted["measure"] == 2


def test_the_doctor_counts_batches_under_each_scaling(bars: list[Bar]) -> None:
    network_inputs = keras.Input((8, 8, 3))
    flat = keras.layers.Flatten()(network_inputs)
    model = keras.Model(network_inputs, keras.layers.Dense(2, activation="softmax")(flat))
    images = np.zeros((6, 8, 8, 3), np.uint8)
    sample = Sample(images, np.arange(6) % 2, ("a", "b"), [])
    measured = measure(model, sample, [], batch_size=2)
    shown = [bar for bar in bars if bar.desc == "measure"]
    assert sum(bar.n for bar in shown) == 3 * len(measured.outputs)
    assert all(bar.is_closed for bar in shown)


def test_nobody_who_fits_a_head_as_a_library_sees_a_bar(drawn: list[Bar]) -> None:
    create_head("lightgbm", 0).fit(*separable(2))
    assert drawn == []
