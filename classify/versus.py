"""Two runs, head by head, on the images that both have: other weights, other sizes, backbones."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cache.format import SPLITS, Config, Identity
from cache.reader import FeatureFile
from classify.bootstrap import Estimate
from classify.compare import Comparison, compare_right, holm
from classify.errors import RunError
from classify.metrics import accuracy
from classify.run import Run, Trained, rank


@dataclass(frozen=True)
class Side:
    """One of the two runs, in memory but for its embeddings.

    Attributes
    ----------
    name : str
    config : Config
        Where its embeddings came from.
    dim : int
    n_images : dict of str to int
        By split.
    heads : dict of str to Trained
        The best on val first.
    y_val, y_test : int32 (n_split,)
        Index into `classes`.
    contents : list of bytes
        SHA-256 of each image of test.
    classes : tuple of str
    """

    name: str
    config: Config
    dim: int
    n_images: dict[str, int]
    heads: dict[str, Trained]
    y_val: NDArray[np.int32]
    y_test: NDArray[np.int32]
    contents: list[bytes]
    classes: tuple[str, ...]

    @property
    def identity(self) -> Identity:
        """What its embeddings are."""
        return self.config.identity

    def val(self, head: str) -> Estimate | None:
        """Top-1 of a head on val; None if it is not trained here."""
        return accuracy(self.y_val, self.heads[head].val) if head in self.heads else None

    def test(self, head: str) -> Estimate | None:
        """Top-1 of a head on test; None if it is not trained here."""
        return accuracy(self.y_test, self.heads[head].test) if head in self.heads else None

    def is_right(self, head: str) -> NDArray[np.bool_]:
        """Which images of test a head has right, bool (n_test,)."""
        return np.asarray(self.heads[head].test.argmax(axis=1) == self.y_test)


class Versus(NamedTuple):
    """Two runs compared.

    Attributes
    ----------
    a, b : Side
    differences : dict of str to Comparison
        By head that both have: top-1 of b minus that of a on the images of test that both have.
    n_common : int
        How many those are.
    """

    a: Side
    b: Side
    differences: dict[str, Comparison]
    n_common: int

    @property
    def names(self) -> list[str]:
        """Heads of either run, in the order of the first."""
        return list(dict.fromkeys([*self.a.heads, *self.b.heads]))


def compare_runs(first: Run, second: Run) -> Versus:
    """Set two runs side by side, head by head, on the images of test that both have.

    Parameters
    ----------
    first, second : Run

    Raises
    ------
    RunError, FeatureFileError
        If one has no trained heads, or they have no class in common.
    """
    a, b = _side(first), _side(second)
    if not set(a.classes) & set(b.classes):
        raise RunError(
            f"{first.folder} and {second.folder}: expected runs of the same classes, found none in "
            f"common (such as {a.classes[0]!r} and {b.classes[0]!r})."
        )
    in_a, in_b = _common(a, b)
    found = {
        name: compare_right({"b": b.is_right(name)[in_b], "a": a.is_right(name)[in_a]})[0]
        for name in a.heads
        if name in b.heads and len(in_a)
    }
    corrected = holm([each.p for each in found.values()])
    differences = {
        name: each._replace(p_holm=p)
        for (name, each), p in zip(found.items(), corrected, strict=True)
    }
    return Versus(a, b, differences, len(in_a))


def _side(run: Run) -> Side:
    with FeatureFile(run.features_path) as features:
        y_val, contents = features.labels("val"), features.table.contents()
        return Side(
            name=run.name,
            config=features.config,
            dim=features.dim,
            n_images={split: len(features.rows(split)) for split in SPLITS},
            heads={each.record.name: each for each in rank(run.trained(features), y_val)},
            y_val=y_val,
            y_test=features.labels("test"),
            contents=[contents[row] for row in features.rows("test")],
            classes=features.classes,
        )


def _common(a: Side, b: Side) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positions in both test splits of the images that have the same bytes and class."""
    in_b = {key: at for at, key in enumerate(_keys(b))}
    pairs = [(at, in_b[key]) for at, key in enumerate(_keys(a)) if key in in_b]
    found = np.array(pairs, dtype=np.intp).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _keys(side: Side) -> list[tuple[bytes, str]]:
    """Content and class of each image of test: labels are numbered differently in other runs."""
    return [
        (content, side.classes[y]) for content, y in zip(side.contents, side.y_test, strict=True)
    ]
