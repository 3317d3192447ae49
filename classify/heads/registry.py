"""All heads by name."""

import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np

from headbench.classify.checked import check_proba
from headbench.classify.errors import RunError, loading
from headbench.classify.heads.boosting import LightGBM
from headbench.classify.heads.head import Head, saved_kind
from headbench.classify.heads.logreg import LogReg
from headbench.classify.heads.mlp import MLP
from headbench.classify.heads.parameters import SHARED
from headbench.classify.heads.ridge import Ridge
from headbench.classify.heads.simple import KNN, Centroid, Prior
from headbench.classify.heads.vote import Vote
from headbench.classify.run import Trained

VOTE = "vote"
# In the order in which they are trained: the cheap ones first, the vote over all of them last.
HEADS: dict[str, Callable[[], Head]] = {
    "prior": Prior,
    "centroid": Centroid,
    "knn": KNN,
    "ridge": Ridge,
    "logreg": LogReg,
    "lightgbm": LightGBM,
    "mlp": partial(MLP, hidden=(512,), batch_norm=True, dropout=0.5),
    "mlp-128": MLP,
    # Alone it is a vote of two quick ones; a run lets all heads vote that it trained.
    VOTE: partial(Vote, members=(("centroid", Centroid()), ("ridge", Ridge()))),
}
# Chance has nothing to say, and the nearest neighbours are stored with every head that asks them.
NO_VOTE = ("prior", "knn", VOTE)
# The kinds of head that stand alone, by the name that a saved one carries.
KINDS: dict[str, type[Head]] = {
    type(head).__name__: type(head) for name in HEADS if name != VOTE for head in [HEADS[name]()]
}
# Whatever a setting for all heads may name.
PARAMETERS = frozenset(SHARED).union(*(kind.ranges for kind in KINDS.values()))
EXPORTABLE = [name for name in HEADS if name != VOTE and type(HEADS[name]()).is_exportable]
MLP_WIDTHS = re.compile(r"mlp((?:-[1-9]\d*)+)")


def check_names(names: Iterable[str]) -> None:
    """Raise `RunError` for the first name that is no head, listing those that are."""
    for name in names:
        if name not in HEADS and not MLP_WIDTHS.fullmatch(name):
            raise RunError(
                f"unknown head {name!r}: expected one of {', '.join(HEADS)}, or mlp-WIDTH such as "
                "mlp-256 or mlp-1024-256."
            )


def create_head(name: str, seed: int) -> Head:
    """A head that is not fitted yet; `seed` goes to those that draw numbers.

    ``mlp-1024-256`` is an `MLP` with dense layers of those widths.
    """
    check_names([name])
    widths = MLP_WIDTHS.fullmatch(name)
    if widths:
        head: Head = MLP(hidden=tuple(map(int, widths[1].split("-")[1:])))
    else:
        head = HEADS[name]()
    return head.set_params(seed=seed) if "seed" in head.get_params() else head


def load_head(folder: Path) -> Head:
    """A fitted head from the folder that it was saved into; no code in there is run.

    Raises
    ------
    RunError
        If what is in there does not fit together: it is tried on an embedding of zeros.
    """
    with loading(folder):
        is_vote = saved_kind(folder) == Vote.__name__
        head: Head = Vote.load(folder, _load_alone) if is_vote else _load_alone(folder)
        proba = head.predict_proba(np.zeros((1, head.n_features_in_), dtype=np.float32))
        check_proba(proba)
    return head


def load_trained_head(trained: Trained) -> Head:
    """The head of a run, which is for the embeddings and classes that its record names."""
    head, record = load_head(trained.folder), trained.record
    with loading(trained.folder):
        if head.n_features_in_ != record.dim:
            raise ValueError(f"expected {record.dim} columns, found {head.n_features_in_}")
        if np.setdiff1d(head.classes_, np.arange(len(record.classes))).size:
            raise ValueError(f"expected labels below {len(record.classes)}, found others")
    return head


def _load_alone(folder: Path) -> Head:
    with loading(folder):
        return KINDS[saved_kind(folder)].load(folder)
