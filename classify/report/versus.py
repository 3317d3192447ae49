"""Comparison of two runs, head by head, on the images that both have."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.cache.disk import replace_texts
from headbench.cache.format import SPLITS, Config, Identity, describe_counts
from headbench.cache.reader import FeatureFile
from headbench.classify.errors import RunError
from headbench.classify.intervals import Comparison, Estimate, compare_right, holm
from headbench.classify.metrics import accuracy
from headbench.classify.report.page.render import render
from headbench.classify.report.pictures.heads import two_runs
from headbench.classify.run import Run, Trained, rank
from headbench.classify.wording import (
    aligned,
    describe_weights,
    listed,
    p_value,
    percent,
    points,
    wrapped,
)

TITLES = ("head", "A val", "B val", "A test", "B test", "B minus A on test, points")


@dataclass(frozen=True)
class Side:
    """One of the two runs, in memory without its embeddings.

    Attributes
    ----------
    config : Config
        How its embeddings were made.
    n_images : dict of str to int
        Number of images by split.
    heads : dict of str to Trained
        The best on val first.
    y_val, y_test : int32 (n_split,)
        Indices into `classes`.
    contents : list of bytes
        SHA-256 of each image of test.
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
        """Network, weights and preprocessing of its embeddings."""
        return self.config.identity

    def val(self, head: str) -> Estimate | None:
        """Accuracy of a head on val; None if it is not trained here."""
        return accuracy(self.y_val, self.heads[head].val) if head in self.heads else None

    def test(self, head: str) -> Estimate | None:
        """Accuracy of a head on test; None if it is not trained here."""
        return accuracy(self.y_test, self.heads[head].test) if head in self.heads else None

    def is_right(self, head: str) -> NDArray[np.bool_]:
        """Which test images a head classifies correctly, bool (n_test,)."""
        return np.asarray(self.heads[head].test.argmax(axis=1) == self.y_test)


class Versus(NamedTuple):
    """Two runs compared.

    Attributes
    ----------
    differences : dict of str to Comparison
        By head that both have: accuracy of b minus that of a on the test images that both have.
    n_common : int
        Number of test images that both have.
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
    """Compare two runs head by head on the test images that both have.

    Raises
    ------
    RunError, FeatureFileError
        If one run has no trained heads, or they have no class in common.
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
    """Positions in both test splits of the images with the same bytes and class."""
    in_b = {key: at for at, key in enumerate(_keys(b))}
    pairs = [(at, in_b[key]) for at, key in enumerate(_keys(a)) if key in in_b]
    found = np.array(pairs, dtype=np.intp).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _keys(side: Side) -> list[tuple[bytes, str]]:
    """Content and class of each test image: other runs may number their classes differently."""
    return [
        (content, side.classes[y]) for content, y in zip(side.contents, side.y_test, strict=True)
    ]


def as_text(versus: Versus) -> str:
    """The answer, a line for each head, and the facts that differ."""
    answer = [f"A: {versus.a.name}", f"B: {versus.b.name}", wrapped(verdict(versus))]
    table = aligned([TITLES, *rows(versus)])
    different = [f"{name}: {a} | {b}" for name, a, b in facts(versus) if a != b]
    parts = [answer, table, [wrapped(footnote(versus))], different]
    return "\n\n".join("\n".join(part) for part in parts if part)


def verdict(versus: Versus) -> str:
    """Which run is better on test, head by head."""
    found = versus.differences
    ahead = {
        "B": [name for name, each in found.items() if each.is_seen and each.difference.value > 0],
        "A": [name for name, each in found.items() if each.is_seen and each.difference.value < 0],
    }
    same = [name for name, each in found.items() if not each.is_seen]
    sentences = [
        f"On test, {run} is significantly better for {listed(names)}."
        for run, names in ahead.items()
        if names
    ]
    if same:
        sentences.append(f"No significant difference between A and B for {listed(same)}.")
    if not found:
        sentences.append("No head can be compared on the same test images.")
    return " ".join(sentences)


def write_page(versus: Versus, folder: Path) -> Path:
    """Write the comparison as a page of its own; gives its path."""
    a, b = versus.a, versus.b
    path = folder / f"versus-{b.name}.html"
    tests = [(name, (a.test(name), b.test(name))) for name in versus.names]
    page = render(
        "versus.html",
        title=f"{a.name} and {b.name}",
        data={},
        versus=versus,
        facts=facts(versus),
        verdict=verdict(versus),
        titles=TITLES,
        rows=rows(versus),
        picture=two_runs(a.name, b.name, tests),
        footnote=footnote(versus),
    )
    replace_texts(folder, {path.name: page})
    return path


def facts(versus: Versus) -> list[tuple[str, str, str]]:
    """Name of each fact, and its value in the first and in the second run."""
    a, b = _facts(versus.a), _facts(versus.b)
    return [(name, a[name], b[name]) for name in a]


def rows(versus: Versus) -> list[tuple[str, ...]]:
    """One row for each head; cells in the order of `TITLES`."""
    a, b = versus.a, versus.b
    return [
        (
            name,
            *(percent(each) for each in (a.val(name), b.val(name), a.test(name), b.test(name))),
            _difference(name, versus),
        )
        for name in versus.names
    ]


def footnote(versus: Versus) -> str:
    """How to read the table."""
    common = (
        f"Differences: the {versus.n_common} test images that both runs have in the same class, "
        "paired; bootstrap interval, and p by McNemar's exact test with Holm's correction for all "
        "heads."
        if versus.n_common
        else "The runs share no test image, so nothing is paired: compare the intervals with care."
    )
    return (
        "Accuracy; brackets are 95 % confidence intervals (Wilson). Choose between the runs by "
        f"val. {common}"
    )


def _facts(side: Side) -> dict[str, str]:
    identity, data = side.identity, side.config.data
    return {
        "weights": describe_weights(identity, side.config.weights),
        "backbone": identity.backbone,
        "size": f"{identity.size_px} px",
        "resize": identity.resize,
        "views": identity.views or "one",
        "pooling": identity.pooling,
        "precision": identity.precision,
        "preprocessing": identity.preprocessing,
        "columns": str(side.dim),
        "data": str(data["folder"]),
        "images": describe_counts(side.n_images),
        "classes": str(len(side.classes)),
        "split": str(data["split"]),
    }


def _difference(name: str, versus: Versus) -> str:
    for letter, side in (("A", versus.a), ("B", versus.b)):
        if name not in side.heads:
            return f"not trained in {letter}"
    if name not in versus.differences:
        return "no test image in common"
    found = versus.differences[name]
    return f"{points(found.difference, unit='')}, {p_value(found.p_holm)}"
