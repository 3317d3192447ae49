"""All heads by name. Each is imported when one is made: some take seconds to import."""

import re
from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headbench.classify.checked import check_proba
from headbench.classify.errors import RunError, loading

if TYPE_CHECKING:
    from headbench.classify.heads.head import Head
    from headbench.classify.run import Trained

VOTE = "vote"
Maker = Callable[[], "Head"]
# The file of each kind of head that stands alone.
_FILES: dict[str, str] = {}


def _maker(kind: str, **arguments: Any) -> Maker:
    """A function that makes a head of a class, named ``file.Class``."""
    file, name = kind.split(".")
    _FILES[name] = file
    return lambda: _kind(name)(**arguments)


def _kind(name: str) -> "type[Head]":
    """A kind of head by the name that a saved one carries; only its file is imported."""
    module = import_module(f"headbench.classify.heads.{_FILES[name]}")
    kind: type[Head] = getattr(module, name)
    return kind


def _small_vote() -> "Head":
    """On its own, a vote of two quick heads; in a run, a vote of all its trained heads."""
    from headbench.classify.heads.vote import Vote

    return Vote(tuple((name, HEADS[name]()) for name in ("centroid", "ridge")))


# In the order in which they are trained: the quick ones first, the vote over all of them last.
HEADS: dict[str, Maker] = {
    "prior": _maker("simple.Prior"),
    "centroid": _maker("simple.Centroid"),
    "knn": _maker("simple.KNN"),
    "ridge": _maker("ridge.Ridge"),
    "logreg": _maker("logreg.LogReg"),
    "lightgbm": _maker("boosting.LightGBM"),
    "mlp": _maker("mlp.MLP", hidden=(512,), batch_norm=True, dropout=0.5),
    "mlp-128": _maker("mlp.MLP"),
    VOTE: _small_vote,
}
# Class frequencies add nothing to a vote, and a vote with knn would store all embeddings again.
NO_VOTE = ("prior", "knn", VOTE)
MLP_WIDTHS = re.compile(r"mlp((?:-[1-9]\d*)+)")


@cache
def kinds() -> "dict[str, type[Head]]":
    """The kinds of head that stand alone, by the name that a saved one carries."""
    heads = [HEADS[name]() for name in HEADS if name != VOTE]
    return {type(head).__name__: type(head) for head in heads}


@cache
def parameters() -> frozenset[str]:
    """Whatever a setting for all heads may name."""
    from headbench.classify.heads.parameters import SHARED

    return frozenset(SHARED).union(*(kind.ranges for kind in kinds().values()))


@cache
def exportable() -> list[str]:
    """Names of the heads that can be exported, and that fine-tuning can start from."""
    return [name for name in HEADS if name != VOTE and HEADS[name]().is_exportable]


def check_names(names: Iterable[str]) -> None:
    """Raise `RunError` for the first unknown name; the message lists all heads."""
    for name in names:
        if name not in HEADS and not MLP_WIDTHS.fullmatch(name):
            raise RunError(
                f"unknown head {name!r}: expected one of {', '.join(HEADS)}, or mlp-WIDTH such as "
                "mlp-256 or mlp-1024-256."
            )


def create_head(name: str, seed: int) -> "Head":
    """A head that is not fitted yet; heads that use random numbers get the `seed`.

    ``mlp-1024-256`` is an ``MLP`` with dense layers of those widths.
    """
    check_names([name])
    widths = MLP_WIDTHS.fullmatch(name)
    if widths:
        hidden = tuple(map(int, widths[1].split("-")[1:]))
        head = _maker("mlp.MLP", hidden=hidden)()
    else:
        head = HEADS[name]()
    return head.set_params(seed=seed) if "seed" in head.get_params() else head


def load_head(folder: Path) -> "Head":
    """A fitted head from its folder; no code in the folder is run.

    Raises
    ------
    RunError
        If the files are damaged or do not match. The head is tried on an embedding of zeros.
    """
    from headbench.classify.heads.head import saved_kind
    from headbench.classify.heads.vote import Vote

    with loading(folder):
        is_vote = saved_kind(folder) == Vote.__name__
        head: Head = Vote.load(folder, _load_alone) if is_vote else _load_alone(folder)
        proba = head.predict_proba(np.zeros((1, head.n_features_in_), dtype=np.float32))
        check_proba(proba)
    return head


def load_trained_head(trained: "Trained") -> "Head":
    """A head of a run; `RunError` if it does not match the dimension and classes of its record."""
    head, record = load_head(trained.folder), trained.record
    with loading(trained.folder):
        if head.n_features_in_ != record.dim:
            raise ValueError(f"expected {record.dim} columns, found {head.n_features_in_}")
        if np.setdiff1d(head.classes_, np.arange(len(record.classes))).size:
            raise ValueError(f"expected labels below {len(record.classes)}, found others")
    return head


def _load_alone(folder: Path) -> "Head":
    from headbench.classify.heads.head import saved_kind

    with loading(folder):
        return _kind(saved_kind(folder)).load(folder)
