"""Looks at test: what counts as one, what it does to the interval, and how they are kept."""

import json
import multiprocessing
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from headbench.cache.disk import one_writer
from headbench.cache.reader import FeatureFile
from headbench.classify import looks_at_test
from headbench.classify.errors import RunError
from headbench.classify.intervals import wilson
from headbench.classify.looks_at_test import (
    LOOKS_FILE,
    LooksAtTest,
    add_look,
    count_look,
    read_looks,
)
from headbench.classify.run import Run
from headbench.classify.train_heads import train_heads
from tests.conftest import listen


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        (["ridge-a"] * 5, (5, 1)),
        (["ridge-a", "ridge-b"], (2, 2)),
        (["ridge-a knn-a", "ridge-a", "knn-a"], (3, 1)),
        (["ridge-a", "ridge-a knn-a"], (2, 2)),
        (["ridge-a knn-a", "ridge-a knn-b", "knn-a"], (3, 2)),
    ],
)
def test_the_same_heads_again_or_some_of_them_are_no_new_choice(
    looks: list[str], expected: tuple[int, int]
) -> None:
    """Heads of each look, by name and a letter of their probabilities."""
    kept: dict = {}
    for each in looks:
        found = add_look(kept, "t", dict(head.split("-") for head in each.split()))
    assert found == expected


def test_the_interval_for_the_best_of_several_is_bonferronis() -> None:
    accuracy = wilson(330, 400)
    assert LooksAtTest(3, 1).corrected(accuracy) == pytest.approx(accuracy)
    found = LooksAtTest(5, 4).corrected(accuracy)
    assert found == wilson(330, 400, float(norm.ppf(1 - 0.05 / 4 / 2)))
    assert found.low < accuracy.low
    assert found.high > accuracy.high


def test_it_holds_for_the_best_of_equal_heads_where_the_plain_one_does_not() -> None:
    rng = np.random.default_rng(0)
    n_sets, n_held = 10, {"plain": 0, "corrected": 0}
    for _ in range(400):
        best = wilson(int(rng.binomial(400, 0.8, n_sets).max()), 400)
        for name, found in (("plain", best), ("corrected", LooksAtTest(10, 10).corrected(best))):
            n_held[name] += found.low <= 0.8 <= found.high
    assert n_held["plain"] / 400 < 0.85
    assert n_held["corrected"] / 400 >= 0.94


def test_sentences_say_how_often_and_from_the_second_set_on_what_it_does() -> None:
    accuracy = wilson(330, 400)
    assert LooksAtTest(1, 1).describe() == "This is the first look at test in this run."
    again = LooksAtTest(3, 1).describe("ridge", accuracy)
    assert again == (
        "Test has been looked at 3 times in this run, with the same heads: that is no choice, and "
        "the interval holds."
    )
    changed = LooksAtTest(3, 2).describe("ridge", accuracy)
    assert "with 2 different sets of heads" in changed
    assert changed.endswith(
        "If ridge is the best of 2, the interval that holds is 77.8 to 86.3 % (Bonferroni), not "
        "78.5 to 85.9 %."
    )


def test_looks_are_counted_in_the_run_and_a_head_that_was_trained_anew_is_another(
    run: Run,
) -> None:
    train_heads(run, ["ridge", "knn"], seed=0)
    with FeatureFile(run.features_path) as features:
        trained = run.trained(features)
        assert count_look(run.folder, features, trained) == (1, 1)
        assert count_look(run.folder, features, trained) == (2, 1)
        assert count_look(run.folder, features, trained[:1]) == (3, 1)
        other = [replace(each, test=each.test[:, ::-1]) for each in trained]
        assert count_look(run.folder, features, other) == (4, 2)


def test_looks_at_other_test_images_do_not_count(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    train_heads(run, ["ridge"], seed=0)
    with FeatureFile(run.features_path) as features:
        trained = run.trained(features)
        count_look(run.folder, features, trained)
        with monkeypatch.context() as patched:
            patched.setattr(looks_at_test, "_test_digest", lambda _: "other images")
            assert count_look(run.folder, features, trained) == (1, 1)
        assert count_look(run.folder, features, trained) == (2, 1)


def count_often(run: Run, n: int, both_are_ready: Barrier) -> None:
    with FeatureFile(run.features_path) as features:
        trained = run.trained(features)
        both_are_ready.wait()
        for _ in range(n):
            count_look(run.folder, features, trained)


def test_processes_that_look_at_once_are_all_counted(run: Run) -> None:
    train_heads(run, ["ridge"], seed=0)
    context = multiprocessing.get_context("spawn")
    arguments = (run, 50, context.Barrier(2))
    workers = [context.Process(target=count_often, args=arguments) for _ in range(2)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    [looks] = read_looks(run.folder / LOOKS_FILE).values()
    assert looks["n_looks"] == 100
    assert sorted(path.name for path in run.folder.glob("*looks*")) == [LOOKS_FILE]


def test_a_look_that_cannot_be_written_down_is_said_and_does_not_end_the_command(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_heads(run, ["ridge"], seed=0)
    monkeypatch.setattr(looks_at_test, "WAIT_SECONDS", 0.1)
    said = listen()
    with FeatureFile(run.features_path) as features, one_writer(run.folder / LOOKS_FILE):
        assert count_look(run.folder, features, run.trained(features)) == (1, 1)
    assert said[-1].startswith("This look at test is not counted.")
    assert not (run.folder / LOOKS_FILE).exists()


GOOD = {"n_looks": 1, "sets": [{"ridge": "a"}]}


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        # As an earlier version wrote it.
        json.dumps({"version": 1, "looks": []}),
        json.dumps({"t": GOOD | {"n_looks": 0}}),
        json.dumps({"t": GOOD | {"n_looks": "1"}}),
        json.dumps({"t": GOOD | {"sets": []}}),
        json.dumps({"t": GOOD | {"sets": [{"ridge": 1}]}}),
        json.dumps({"t": {"n_looks": 1}}),
        json.dumps({"t": [GOOD]}),
    ],
)
def test_a_damaged_file_is_named_and_what_to_do(tmp_path: Path, content: str) -> None:
    path = tmp_path / LOOKS_FILE
    path.write_text(content)
    with pytest.raises(RunError, match=rf"{path}: cannot be loaded .*Delete it: looks at test"):
        read_looks(path)
    path.write_text(json.dumps({"t": GOOD}))
    assert read_looks(path) == {"t": GOOD}
