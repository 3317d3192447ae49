"""A weighted average of other heads' probabilities."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headbench.cache.untrusted import read_json
from headbench.classify.heads.head import Head, Labelled, relative_weights

WEIGHTS_FILE = "weights.json"
# A head with a smaller weight is left out.
SMALLEST_WEIGHT = 0.01
N_STEPS = 500


class Vote(Head):
    """The weighted average of heads with the smallest log loss on val.

    Parameters
    ----------
    members : sequence of (str, Head)
        Names and heads; `fit` clones and fits them. Without val, all have the same weight.

    Attributes
    ----------
    weights_ : dict of str to float
        Weight of each member; they sum to 1. Members with a weight below 0.01 are left out.
    fitted_ : dict of str to Head
        The members that have a weight.
    """

    # `fit` needs it. From a file, members are fitted first, and `of_fitted` weighs them.
    needs_memory: ClassVar[bool] = True

    def __init__(self, members: Sequence[tuple[str, Head]] = ()) -> None:
        self.members = members

    @classmethod
    def of_fitted(
        cls,
        heads: Mapping[str, Head],
        probas: Mapping[str, NDArray[np.float32]],
        y: NDArray[np.integer],
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """A vote of heads that are already fitted.

        Parameters
        ----------
        heads : mapping of str to Head
            All fitted on the same classes.
        probas : mapping of str to float32 (n_val, n_classes)
            Probabilities of each head on val.
        y : int (n_val,)
            Positions of the true labels of val in the classes.
        sample_weight : array (n_val,), optional
            Weight of each image of val.
        """
        from sklearn.base import clone

        first = next(iter(heads.values()))
        vote = cls(tuple((name, clone(head)) for name, head in heads.items()))
        vote._start(first.classes_)
        vote.n_features_in_ = first.n_features_in_
        weight = relative_weights(sample_weight, len(y))
        vote._weigh(heads, probas, y, weight)
        mixed = sum(weight * probas[name] for name, weight in vote.weights_.items())
        vote._calibrate(np.asarray(mixed, dtype=np.float32), y, weight)
        return vote

    def _fit(self, train: Labelled, val: Labelled | None) -> None:
        from sklearn.base import clone

        if not self.members:
            raise ValueError("members: expected at least one head, found none")
        names = [name for name, _ in self.members]
        if len(set(names)) < len(names):
            raise ValueError(f"members: expected names that differ, found {names}")
        X_val, y_val, weight_val = val or (None, None, None)
        heads = {
            name: clone(head).fit(train.X, train.y, X_val, y_val, train.weight, weight_val)
            for name, head in self.members
        }
        if val is None:
            self._keep(heads, np.full(len(heads), 1 / len(heads)))
            return
        probas = {name: head.predict_proba(val.X) for name, head in heads.items()}
        self._weigh(heads, probas, val.y, val.weight)

    def _weigh(
        self,
        heads: Mapping[str, Head],
        probas: Mapping[str, NDArray[np.float32]],
        y: NDArray[np.integer],
        weight: NDArray[np.float64],
    ) -> None:
        rows = np.arange(len(y))
        of_truth = np.stack([probas[name][rows, y] for name in heads], axis=1)
        self._keep(heads, mixture_weights(of_truth.astype(np.float64), weight))

    def _keep(self, heads: Mapping[str, Head], weights: NDArray[np.float64]) -> None:
        kept = np.where(weights >= SMALLEST_WEIGHT, weights, 0)
        kept /= kept.sum()
        named = zip(heads, kept.tolist(), strict=True)
        self.weights_ = {name: weight for name, weight in named if weight > 0}
        self.fitted_ = {name: heads[name] for name in self.weights_}
        self.chosen_ = dict(self.weights_)

    def _predict_proba(self, X: NDArray[np.float32]) -> NDArray[Any]:
        proba = np.zeros((len(X), len(self.classes_)))
        for name, head in self.fitted_.items():
            proba += self.weights_[name] * head.predict_proba(X)
        return proba

    def _saved_parameters(self) -> dict[str, Any]:
        return {}

    def _save(self, folder: Path) -> None:
        (folder / WEIGHTS_FILE).write_text(
            json.dumps(self.weights_, indent=2), "utf-8", newline="\n"
        )
        for number, head in enumerate(self.fitted_.values()):
            member = folder / str(number)
            member.mkdir()
            head.save(member)

    @classmethod
    def load(  # type: ignore[override]  # a vote alone cannot know what kinds its members are
        cls, folder: Path, load_member: Callable[[Path], Head]
    ) -> Self:
        """Read a fitted vote; `load_member` reads a head from a folder in it."""
        vote = super().load(folder)
        vote.fitted_ = {
            name: load_member(folder / str(number)) for number, name in enumerate(vote.weights_)
        }
        return vote

    def _load(self, folder: Path) -> None:
        self.weights_ = read_json(folder / WEIGHTS_FILE)
        weights = self.weights_.values()
        if not (all(each > 0 for each in weights) and np.isclose(sum(weights), 1)):
            raise ValueError(f"expected weights above 0 that add up to 1, found {self.weights_}")


def mixture_weights(
    of_truth: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weights of the mixture with the smallest log loss, by EM for mixing proportions.

    The log loss is convex in the weights, so EM finds its only minimum.

    Parameters
    ----------
    of_truth : float64 (n_images, n_members)
        Probability of the true class, by each member.
    weight : float64 (n_images,)

    Returns
    -------
    float64 (n_members,)
        Sum to 1.
    """
    weights = np.full(of_truth.shape[1], 1 / of_truth.shape[1])
    share = weight / weight.sum()
    of_truth = np.maximum(of_truth, np.finfo(np.float32).tiny)
    for _ in range(N_STEPS):
        weights = weights * (share @ (of_truth / (of_truth @ weights)[:, None]))
    return weights
