"""The kinds of head that stand alone, by the name that a saved one carries."""

from pathlib import Path

from classify.errors import loading
from classify.heads.boosting import LightGBM
from classify.heads.centroid import Centroid
from classify.heads.head import Head, saved_kind
from classify.heads.knn import KNN
from classify.heads.logreg import LogReg
from classify.heads.mlp import MLP
from classify.heads.prior import Prior
from classify.heads.ridge import Ridge

KINDS: dict[str, type[Head]] = {
    kind.__name__: kind for kind in (Prior, Centroid, KNN, Ridge, LogReg, LightGBM, MLP)
}


def load_alone(folder: Path) -> Head:
    """A fitted head of one of these kinds, from the folder that it was saved into."""
    with loading(folder):
        return KINDS[saved_kind(folder)].load(folder)
