"""All heads by name."""

from collections.abc import Iterable
from pathlib import Path

from classify.errors import RunError, loading
from classify.heads.boosting import LightGBM
from classify.heads.head import Head
from classify.heads.logreg import LogReg
from classify.heads.mlp import MLP, MLP128

HEADS: dict[str, type[Head]] = {
    "logreg": LogReg,
    "lightgbm": LightGBM,
    "mlp": MLP,
    "mlp-128": MLP128,
}


def check_names(names: Iterable[str]) -> None:
    """Raise `RunError` for the first name that is no head, listing those that are."""
    for name in names:
        if name not in HEADS:
            raise RunError(f"unknown head {name!r}: expected one of {', '.join(HEADS)}.")


def create_head(name: str, seed: int) -> Head:
    """A head that is not fitted yet; `seed` goes to those that draw numbers."""
    head = HEADS[name]()
    return head.set_params(seed=seed) if "seed" in head.get_params() else head


def load_head(name: str, folder: Path, dim: int) -> Head:
    """A fitted head from the folder that it was saved into; no code in there is run."""
    check_names([name])
    with loading(folder):
        return HEADS[name].load(folder, dim)
