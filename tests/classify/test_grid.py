"""A choice that ran into the end of its range is gone on with, or says so."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from headbench.classify.heads import mlp
from headbench.classify.heads.boosting import LightGBM
from headbench.classify.heads.grid import choose_from
from headbench.classify.heads.head import Head
from headbench.classify.heads.logreg import C_PATH, LogReg
from headbench.classify.heads.mlp import MLP, cosine_cycle, has_gained
from headbench.classify.heads.ridge import ALPHA_PATH, Ridge
from headbench.classify.heads.simple import KNN
from headbench.classify.wording import END_OF_RANGE, describe_choice
from tests.benchmarks.food101_like import World

GRID = (0.1, 1.0, 10.0)


def distance_to(best: float) -> Callable[[float], float]:
    return lambda value: abs(math.log10(value) - math.log10(best))


@pytest.mark.parametrize("best", [1e-4, 1e-2, 1.0, 1e2, 1e4])
@pytest.mark.parametrize("is_path", [False, True])
def test_beyond_the_end_of_a_grid_it_is_gone_on_until_val_no_longer_gains(
    best: float, is_path: bool
) -> None:
    choice = choose_from(distance_to(best), GRID, limits=(1e-6, 1e6), is_path=is_path)
    assert choice.best == best
    assert not choice.is_at_limit
    assert choice.tried == sorted(choice.tried)
    assert choice.losses == [distance_to(best)(value) for value in choice.tried]


@pytest.mark.parametrize(("best", "end"), [(1e-9, 1e-3), (1e9, 1e3)])
def test_a_limit_that_ends_the_choice_is_named(best: float, end: float) -> None:
    choice = choose_from(distance_to(best), GRID, limits=(1e-3, 1e3))
    assert (choice.best, choice.is_at_limit) == (end, True)


def test_a_grid_that_was_given_is_not_left() -> None:
    choice = choose_from(distance_to(100), GRID)
    assert (choice.best, choice.tried, choice.is_at_limit) == (10.0, list(GRID), True)
    assert not choose_from(distance_to(1), GRID).is_at_limit
    assert not choose_from(distance_to(100), [1.0]).is_at_limit


def test_where_nothing_gains_the_grid_ends_soon() -> None:
    choice = choose_from(lambda _: 1.0, GRID, limits=(1e-9, 1e9))
    assert (choice.best, choice.is_at_limit) == (0.1, False)
    assert len(choice.tried) == len(GRID) + 1


def noise() -> tuple[np.ndarray, ...]:
    """Embeddings that say nothing: the stronger the penalty, the better."""
    rng = np.random.default_rng(0)
    X, X_val = rng.normal(size=(2, 60, 40)).astype(np.float32)
    return X, np.arange(60) % 3, X_val, np.arange(60) % 3


def test_heads_go_on_beyond_the_ends_of_their_grids() -> None:
    ridge, logreg = Ridge().fit(*noise()), LogReg().fit(*noise())
    assert ridge.chosen_["alpha"] > ALPHA_PATH[-1] or ridge.chosen_["alpha"] in ALPHA_PATH[1:-1]
    assert logreg.chosen_["C"] < C_PATH[0]
    assert logreg.history_["C"] == sorted(logreg.history_["C"])
    losses = dict(zip(logreg.history_["C"], logreg.history_["val_log_loss"], strict=True))
    assert losses[logreg.chosen_["C"]] == min(losses.values())


@pytest.mark.parametrize(
    "head",
    [
        Ridge(alphas=[1e-9, 1e-8]),
        LogReg(cs=[1.0, 10.0]),
        KNN(neighbors=[1, 2]),
        LightGBM(max_rounds=5, projection="none"),
        MLP(max_epochs=2),
    ],
    ids=lambda head: type(head).__name__,
)
def test_a_choice_that_ended_at_what_the_user_allowed_says_so(head: Head) -> None:
    if isinstance(head, LightGBM | MLP):
        world = World(n_classes=5, dim=60)
        head.fit(*world.draw(300, seed=1), *world.draw(100, seed=2))
    else:
        head.fit(*noise())
    assert head.chosen_["is_at_limit"] is True
    first, *others = describe_choice(head.chosen_).split(", ")
    assert first.endswith(END_OF_RANGE)
    assert "limit" not in " ".join(others)


def test_an_mlp_goes_on_while_val_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan is ten epochs; at its end val still gains."""
    monkeypatch.setattr(mlp, "PLANNED_STEPS", 40)
    world = World(n_classes=20, dim=200)
    train, val = world.draw(2000, seed=1), world.draw(300, seed=2)
    planned = MLP(max_epochs=10, batch_size=512).fit(*train, *val)
    assert planned.chosen_ == {"epochs": 10, "epochs_run": 10, "is_at_limit": True}
    longer = MLP(batch_size=512).fit(*train, *val)
    losses = longer.history_["val_log_loss"]
    assert len(losses) > 10
    assert min(losses) < min(planned.history_["val_log_loss"])


def test_cosines_double_what_there_was() -> None:
    assert [cosine_cycle(epoch, 3) for epoch in (0, 2, 3, 5, 6, 11, 12)] == [
        *((0, 3), (0, 3), (3, 3), (3, 3), (6, 6), (6, 6), (12, 12)),
    ]


def test_half_a_hundredth_of_chance_is_a_gain() -> None:
    assert has_gained([2.0, 1.5, 1.4, 1.3], 0.1)
    assert not has_gained([2.0, 1.5, 1.5, 1.45], 0.1)
    assert has_gained([1.0], 0.1)
