"""Gradient-boosted trees by LightGBM."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import lightgbm
import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from headbench.cache.progress import Progress
from headbench.cache.untrusted import read_regular
from headbench.classify.arrays import save_arrays
from headbench.classify.checked import load_numbers
from headbench.classify.heads.cores import n_cores
from headbench.classify.heads.grid import AT_LIMIT, NOTHING_TO_GAIN
from headbench.classify.heads.head import Head, Labelled
from headbench.classify.heads.parameters import (
    POSITIVE,
    SHARE,
    Range,
    is_number,
    one_of,
    or_none,
    whole,
)
from headbench.classify.heads.tree_columns import (
    ColumnsOf,
    Scores,
    as_they_are,
    cross_fitted_scores,
    starting_logits,
    tree_columns,
)

MODEL_FILE = "model.txt"
SCORES_FILE = "scores.npz"
MOST_MODEL_BYTES = 1 << 29
# A limit on time; early stopping ends the fit long before.
MOST_ROUNDS = 2000
# Below so many bins to look at for one tree, a second thread costs more than it does: 6 072 images
# of 165 columns took 0.7 s of processor time a round with two threads on two busy cores, and 0.07
# with one.
SMALL_TREE = 2_000_000
END = "end of trees\n"
HEADER = {
    *("version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx"),
    *("objective", "feature_names", "monotone_constraints", "feature_infos", "tree_sizes"),
}
OF_SPLITS = ("split_gain", "threshold", "internal_value", "internal_weight", "internal_count")
OF_LEAVES, SIZES = ("leaf_value",), ("leaf_weight", "leaf_count")
LINKS = ("left_child", "right_child")
TREE = {
    *("Tree", "num_leaves", "num_cat", "split_feature", "decision_type", "is_linear", "shrinkage"),
    *(*OF_SPLITS, *OF_LEAVES, *SIZES, *LINKS),
}


class LightGBM(Head):
    """Gradient-boosted trees; the number of rounds is chosen on val by log loss.

    Trees start from the class scores of a ridge regression, and correct them. Their columns are
    these scores, the first 64 principal axes and, up to 128 columns, the embeddings. The scores of
    an image of train come from a regression without the image's own fold. `make bench-trees`
    measures this against trees on the embeddings as they are: docs/heads.md has the table.

    The penalty `lambda_l2` matters: without it, trees with a learning rate of 0.2 were best on val
    after the first round (60 600 synthetic embeddings of 101 classes).

    Embeddings in a file are read while LightGBM bins them. In memory are a byte for each image and
    column (scores and axes too), and 24 for each image and class: 4.4 GB for 10 million images of
    128 columns in 10 classes.

    Parameters
    ----------
    min_child_samples : int
        Fewest images in a leaf.
    lambda_l2 : float
        Penalty on the leaves. It limits the scores of rare classes, whose curvature is near 0.
    feature_fraction : float
        Share of the columns that each tree uses.
    max_bin : int
        Largest number of bins for each column.
    projection : {"auto", "none", "scores"}
        Whether trees start from class scores and use principal axes; auto: they do.
    max_rounds : int or None
        Largest number of rounds with val; None: 2 000.
    patience : int
        Training stops after so many rounds without a smaller log loss on val.
    n_rounds : int
        Number of rounds without val.
    class_weight : {None, "balanced"} or mapping
    """

    ranges: ClassVar[Mapping[str, Range]] = {
        "learning_rate": POSITIVE,
        "num_leaves": whole(2),
        "min_child_samples": whole(1),
        "lambda_l2": Range("a number from 0 on", lambda value: is_number(value) and value >= 0),
        "feature_fraction": SHARE,
        "max_bin": whole(2),
        "projection": one_of("auto", "none", "scores"),
        "max_rounds": or_none(whole(1)),
        "patience": whole(1),
        "n_rounds": whole(1),
    }
    refit_with: ClassVar[Mapping[str, str]] = {"n_rounds": "rounds"}

    def __init__(
        self,
        learning_rate: float = 0.1,
        num_leaves: int = 4,
        min_child_samples: int = 10,
        lambda_l2: float = 1.0,
        feature_fraction: float = 0.1,
        max_bin: int = 63,
        projection: str = "auto",
        max_rounds: int | None = None,
        patience: int = 20,
        n_rounds: int = 30,
        class_weight: Any = None,
        seed: int = 0,
    ) -> None:
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.min_child_samples = min_child_samples
        self.lambda_l2 = lambda_l2
        self.feature_fraction = feature_fraction
        self.max_bin = max_bin
        self.projection = projection
        self.max_rounds = max_rounds
        self.patience = patience
        self.n_rounds = n_rounds
        self.class_weight = class_weight
        self.seed = seed

    def _fit(self, train: Labelled, val: Labelled | None) -> None:
        columns_of = self._columns_of(train)
        n_rounds = self.n_rounds if val is None else self.max_rounds or MOST_ROUNDS
        with Progress("fit", n_rounds, "rounds") as progress:
            booster = self._train(train, val, columns_of, n_rounds, lambda _: progress.update())
        is_at_limit = val is not None and self._is_at_limit(n_rounds, booster.best_iteration)
        n_rounds = n_rounds if val is None else booster.best_iteration
        self.chosen_ = {"rounds": n_rounds}
        if is_at_limit:
            self.chosen_[AT_LIMIT] = True
        # Cut at the best round, so that the saved text is the chosen model.
        self._set_model(booster.model_to_string(num_iteration=n_rounds))

    def _columns_of(self, train: Labelled) -> ColumnsOf:
        """Fit the columns of trees; returns the function that makes those of train."""
        self.scores_: Scores | None = None
        if self.projection == "none":
            return as_they_are
        self.scores_, out_of_fold = cross_fitted_scores(train, len(self.classes_), self.seed)
        return out_of_fold

    def _train(
        self,
        train: Labelled,
        val: Labelled | None,
        columns_of: ColumnsOf,
        n_rounds: int,
        count: Callable[[Any], None],
    ) -> lightgbm.Booster:
        columns = tree_columns(train.X, columns_of)
        parameters = self._parameters(len(columns), self._n_columns(train))
        data = lightgbm.Dataset(
            columns,
            train.y,
            weight=train.weight,
            init_score=self._logits(columns),
            params=parameters,
        )
        if val is None:
            return lightgbm.train(parameters, data, num_boost_round=n_rounds, callbacks=[count])
        seen = tree_columns(val.X, self._seen)
        losses: dict[str, Any] = {}
        booster = lightgbm.train(
            parameters,
            data,
            num_boost_round=n_rounds,
            # Early stopping leaves out the data that is trained on, and looks at val alone.
            valid_sets=[
                data,
                data.create_valid(seen, val.y, weight=val.weight, init_score=self._logits(seen)),
            ],
            valid_names=["train", "val"],
            callbacks=[
                count,
                _stop_where_nothing_is_to_gain,
                lightgbm.early_stopping(self.patience, verbose=False),
                lightgbm.record_evaluation(losses),
            ],
        )
        self.history_ = {
            f"{split}_log_loss": losses[split]["multi_logloss"] for split in ("train", "val")
        }
        return booster

    def _is_at_limit(self, n_rounds: int, best: int) -> bool:
        """Whether the rounds ended before patience, while there was something to gain."""
        losses = self.history_["val_log_loss"]
        is_ended = len(losses) == n_rounds and n_rounds - best < self.patience
        return is_ended and min(losses) > NOTHING_TO_GAIN

    def _seen(self, X: NDArray[np.float32], _: slice = slice(None)) -> NDArray[np.float32]:
        return X if self.scores_ is None else self.scores_(X)

    def _logits(self, columns: Any) -> NDArray[np.float64] | None:
        return starting_logits(columns, self.scores_, len(self.classes_))

    def _n_columns(self, train: Labelled) -> int:
        return train.X.shape[1] if self.scores_ is None else len(self.scores_.bias)

    def _parameters(self, n_images: int, n_columns: int) -> dict[str, Any]:
        is_small = n_images * n_columns * self.feature_fraction < SMALL_TREE
        return {
            # For two classes too: softmax over two is the same model, and outputs have one form.
            "objective": "multiclass",
            "num_class": len(self.classes_),
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_child_samples": self.min_child_samples,
            "lambda_l2": self.lambda_l2,
            "feature_fraction": self.feature_fraction,
            "max_bin": self.max_bin,
            "seed": self.seed,
            "deterministic": True,
            "force_col_wise": True,
            "num_threads": 1 if is_small else n_cores(),
            "verbosity": -1,
        }

    def _set_model(self, text: str) -> None:
        self.model_text_ = text
        self.booster_ = lightgbm.Booster(model_str=checked_trees(text, len(self.classes_)))

    def _predict_proba(self, X: NDArray[np.float32]) -> NDArray[Any]:
        columns = self._seen(X)
        logits = self.booster_.predict(columns, raw_score=True, num_threads=n_cores())
        if self.scores_ is not None:
            logits = logits + self.scores_.start(columns, len(self.classes_))
        return np.asarray(softmax(logits, axis=1))

    def _save(self, folder: Path) -> None:
        (folder / MODEL_FILE).write_text(self.model_text_, "utf-8", newline="\n")
        if self.scores_ is not None:
            save_arrays(folder / SCORES_FILE, self.scores_._asdict())

    def _load(self, folder: Path) -> None:
        self._set_model(read_regular(folder / MODEL_FILE, MOST_MODEL_BYTES).decode())
        is_projected = (folder / SCORES_FILE).exists()
        self.scores_ = Scores(**load_numbers(folder / SCORES_FILE)) if is_projected else None


def _stop_where_nothing_is_to_gain(env: Any) -> None:
    """On classes that are easily told apart, each round gains a little, without end."""
    if env.evaluation_result_list[-1][2] <= NOTHING_TO_GAIN:
        raise lightgbm.callback.EarlyStopException(env.iteration, env.evaluation_result_list)


# Callbacks are called in this order; the one that keeps the curve has 20.
_stop_where_nothing_is_to_gain.order = 25  # type: ignore[attr-defined]


def checked_trees(text: str, n_classes: int) -> str:
    """The checked text of a model, without the part on how it was trained.

    LightGBM itself would end the process, or read past its arrays, if the text were damaged.

    Parameters
    ----------
    text : str
        As ``Booster.model_to_string`` gives it; numerical splits only.

    Raises
    ------
    ValueError
        If anything in it is inconsistent: a number of trees, a length, a column, a branch.
    """
    _require(text.isascii(), "expected ASCII")
    start = text.index("Tree=0\n")
    header = _facts(text[:start].splitlines()[1:])
    _require(text.startswith("tree\n") and header.keys() <= HEADER, "unknown header")
    n_columns = int(header["max_feature_idx"]) + 1
    _require(
        int(header["num_class"]) == int(header["num_tree_per_iteration"]) == n_classes
        and header["objective"] == f"multiclass num_class:{n_classes}",
        f"expected trees of {n_classes} classes",
    )
    for name in ("feature_names", "feature_infos"):
        _require(len(header[name].split(" ")) == n_columns, f"expected {n_columns} {name}")
    sizes = [int(size) for size in header["tree_sizes"].split(" ")]
    _require(len(sizes) % n_classes == 0 and min(sizes) > 0, "trees are missing")
    position = start
    for number, size in enumerate(sizes):
        tree = _facts(text[position : position + size].splitlines())
        _require(text.startswith(f"Tree={number}\n", position), f"tree {number} is missing")
        _check_tree(tree, n_columns)
        position += size
    _require(text.startswith(END, position), "more trees than its header lists")
    return text[:position] + END


def _facts(lines: Iterable[str]) -> dict[str, str]:
    facts: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition("=")
        _require(name not in facts or not line, f"{name} occurs twice")
        facts[name] = value
    # Blank lines.
    facts.pop("", None)
    return facts


def _check_tree(tree: dict[str, str], n_columns: int) -> None:
    _require(tree.keys() == TREE, "a tree of another kind")
    n_leaves = int(tree["num_leaves"])
    n_splits = n_leaves - 1
    _require(tree["num_cat"] == tree["is_linear"] == "0", "a tree of another kind")
    _require(math.isfinite(float(tree["shrinkage"])), "a number that is not finite")
    # For a single leaf, not all sizes are written.
    size_lengths = {n_leaves, n_leaves if n_splits else 0}
    expected = ((OF_SPLITS, {n_splits}), (OF_LEAVES, {n_leaves}), (SIZES, size_lengths))
    for names, lengths in expected:
        for name in names:
            numbers = [float(number) for number in tree[name].split()]
            _require(len(numbers) in lengths, f"{name}: {len(numbers)} of {n_leaves} leaves")
            _require(all(map(math.isfinite, numbers)), f"{name}: a number that is not finite")
    columns, kinds, *links = (
        [int(number) for number in tree[name].split()]
        for name in ("split_feature", "decision_type", *LINKS)
    )
    _require(
        len(columns) == len(kinds) == n_splits
        and all(0 <= column < n_columns for column in columns)
        # Odd numbers are splits by category.
        and all(kind in range(0, 16, 2) for kind in kinds),
        "a split of another kind",
    )
    for children in links:
        # Leaves are counted from -1 down; a split is always above its children.
        are_below = (at < to < n_splits or -n_leaves <= to < 0 for at, to in enumerate(children))
        _require(len(children) == n_splits and all(are_below), "a branch to no node")


def _require(is_right: bool, otherwise: str) -> None:
    if not is_right:
        raise ValueError(f"damaged trees: {otherwise}")
