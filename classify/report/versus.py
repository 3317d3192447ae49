"""Comparison of runs on the test images that all have: two head by head, more by best heads."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase as LETTERS  # noqa: N812, names of runs
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.cache.disk import replace_texts
from headbench.cache.format import SPLITS, Config, Identity, describe_counts
from headbench.cache.reader import FeatureFile
from headbench.classify.errors import RunError
from headbench.classify.intervals import Comparison, Estimate, compare_right, holm_corrected
from headbench.classify.metrics import accuracy
from headbench.classify.report.page.render import render
from headbench.classify.report.pictures.heads import accuracy_by_run
from headbench.classify.run import Run, Trained, rank
from headbench.classify.wording import (
    aligned,
    describe_pairs,
    describe_weights,
    listed,
    p_value,
    percent,
    points,
    with_n,
    wrapped,
)
from headbench.extract.images.resizing import find_resizing

HEAD_TITLES = ("head", "A val", "B val", "A test", "B test", "B minus A on test, points")
RUN_TITLES = ("run", "val", "test", "best head on val")
PAIR_TITLES = ("runs", "difference on test, points")


@dataclass(frozen=True)
class Side:
    """One of the runs, in memory without its embeddings.

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

    @property
    def best(self) -> str:
        """The best head on val."""
        return next(iter(self.heads))

    @property
    def on_val(self) -> Estimate:
        """Accuracy of the best head on val."""
        return accuracy(self.y_val, self.heads[self.best].val)

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
    """Runs compared on the test images that all of them have.

    Attributes
    ----------
    runs : dict of str to Side
        Two or more, by their letters: A, B, C and so on.
    differences : dict of str to Comparison
        Differences in accuracy. Of two runs, by each head that both have: B minus A. Of more, by
        each pair, such as ``C minus A``: each run with its best head on val.
    n_common : int
        Number of test images that all have.
    """

    runs: dict[str, Side]
    differences: dict[str, Comparison]
    n_common: int

    @property
    def are_two(self) -> bool:
        """Whether the runs are compared head by head."""
        return len(self.runs) == 2

    @property
    def labels(self) -> list[str]:
        """Letter and name of each run."""
        return [f"{letter}: {side.name}" for letter, side in self.runs.items()]

    @property
    def heads(self) -> list[str]:
        """Heads of any run, in the order of the first."""
        return list(dict.fromkeys(name for side in self.runs.values() for name in side.heads))


def compare_runs(*runs: Run) -> Versus:
    """Compare runs on the test images that all have: two head by head, more by their best heads.

    Raises
    ------
    RunError, FeatureFileError
        If one run has no trained heads, or they have no class in common.
    """
    if not 2 <= len(runs) <= len(LETTERS):
        raise RunError(
            f"expected 2 to {len(LETTERS)} runs to compare, found {len(runs)}. Name "
            "them, such as 'headbench compare photos-96 photos-224'."
        )
    sides = list(map(_side, runs))
    if not set.intersection(*(set(side.classes) for side in sides)):
        found = listed([f"{side.classes[0]!r} in {side.name}" for side in sides])
        raise RunError(
            f"{listed([str(run.folder) for run in runs])}: expected runs of the same classes, "
            f"found none in common (such as {found})."
        )
    rows = _common(sides)
    compare = _by_head if len(sides) == 2 else _by_pair
    differences = compare(sides, rows) if len(rows[0]) else {}
    return Versus(dict(zip(LETTERS, sides, strict=False)), differences, len(rows[0]))


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


def _common(sides: Sequence[Side]) -> list[NDArray[np.intp]]:
    """Positions in each test split of the images that all have with the same bytes and class."""
    first, *others = [{key: at for at, key in enumerate(_keys(side))} for side in sides]
    keys = [key for key in first if all(key in each for each in others)]
    return [np.array([each[key] for key in keys], dtype=np.intp) for each in (first, *others)]


def _keys(side: Side) -> list[tuple[bytes, str]]:
    """Content and class of each test image: other runs may number their classes differently."""
    return [
        (content, side.classes[y]) for content, y in zip(side.contents, side.y_test, strict=True)
    ]


def _by_head(sides: Sequence[Side], rows: Sequence[NDArray[np.intp]]) -> dict[str, Comparison]:
    """`Versus.differences` of two runs."""
    (a, b), (in_a, in_b) = sides, rows
    found = {
        name: compare_right({"B": b.is_right(name)[in_b], "A": a.is_right(name)[in_a]})[0]
        for name in a.heads
        if name in b.heads
    }
    return holm_corrected(found)


def _by_pair(sides: Sequence[Side], rows: Sequence[NDArray[np.intp]]) -> dict[str, Comparison]:
    """`Versus.differences` of more than two runs; the better one on val is first in its pairs."""
    lettered = sorted(
        zip(LETTERS, sides, rows, strict=False), key=lambda each: -each[1].on_val.value
    )
    pairs = compare_right({name: side.is_right(side.best)[at] for name, side, at in lettered})
    return {f"{pair.first} minus {pair.second}": pair for pair in pairs}


def as_text(versus: Versus) -> str:
    """The answer, the tables, and the facts that differ."""
    answer = [*versus.labels, wrapped(verdict(versus))]
    different = [
        f"{name}: {' | '.join(values)}" for name, *values in facts(versus) if len(set(values)) > 1
    ]
    parts = [answer, *map(aligned, tables(versus)), [wrapped(footnote(versus))], different]
    return "\n\n".join("\n".join(part) for part in parts if part)


def verdict(versus: Versus) -> str:
    """Which run is better on test."""
    if not versus.differences:
        what = "head" if versus.are_two else "pair of runs"
        return f"No {what} can be compared on the same test images."
    return _verdict_by_head(versus) if versus.are_two else _verdict_by_pair(versus)


def _verdict_by_head(versus: Versus) -> str:
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
    return " ".join(sentences)


def _verdict_by_pair(versus: Versus) -> str:
    pairs = versus.differences.values()
    ranked = list(dict.fromkeys(pair.first for pair in pairs))
    best = versus.runs[ranked[0]]
    found = " ".join(describe_pairs(letter, pairs) for letter in ranked)
    return (
        f"{ranked[0]} has the best val accuracy: {best.best}, {with_n(best.on_val)}. On test, "
        f"each with its best head on val: {found}"
    )


def write_page(versus: Versus, folder: Path) -> Path:
    """Write the comparison as a page of its own; gives its path."""
    _, second, *others = (side.name for side in versus.runs.values())
    more = f"-and-{len(others)}-more" if others else ""
    path = folder / f"versus-{second}{more}.html"
    tests = [(name, [side.test(name) for side in versus.runs.values()]) for name in versus.heads]
    page = render(
        "versus.html",
        title=listed([side.name for side in versus.runs.values()]),
        data={},
        versus=versus,
        facts=facts(versus),
        verdict=verdict(versus),
        tables=tables(versus),
        picture=accuracy_by_run(versus.labels, tests),
        footnote=footnote(versus),
    )
    replace_texts(folder, {path.name: page})
    return path


def facts(versus: Versus) -> list[tuple[str, ...]]:
    """Name of each fact, and its value in each run."""
    found = [_facts(side) for side in versus.runs.values()]
    return [(name, *(each[name] for each in found)) for name in found[0]]


def tables(versus: Versus) -> list[list[tuple[str, ...]]]:
    """Titles, then rows: of two runs, a table of heads; of more, one of runs and one of pairs."""
    if versus.are_two:
        return [[HEAD_TITLES, *(_head_row(name, versus) for name in versus.heads)]]
    runs = [
        (label, percent(side.on_val), percent(side.test(side.best)), side.best)
        for label, side in zip(versus.labels, versus.runs.values(), strict=True)
    ]
    pairs = [(name, _difference(each)) for name, each in versus.differences.items()]
    found: list[list[tuple[str, ...]]] = [[RUN_TITLES, *runs], [PAIR_TITLES, *pairs]]
    return found if pairs else found[:1]


def footnote(versus: Versus) -> str:
    """How to read the tables."""
    all_, family = ("both", "heads") if versus.are_two else ("all", "pairs")
    common = (
        f"Differences: the {versus.n_common} test images that {all_} runs have in the same class, "
        "paired; bootstrap interval, and p by McNemar's exact test with Holm's correction for all "
        f"{family}."
        if versus.n_common
        else "The runs share no test image, so nothing is paired: compare the intervals with care."
    )
    return (
        "Accuracy; brackets are 95 % confidence intervals (Wilson). Choose between the runs by "
        f"val. {common}"
    )


def _facts(side: Side) -> dict[str, str]:
    identity, data = side.identity, side.config.data
    resizing = find_resizing(identity)
    return {
        "weights": describe_weights(identity, side.config.weights),
        "backbone": identity.network,
        "size": f"{identity.size_px} px",
        "resize": resizing.rule if resizing else identity.resize,
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


def _head_row(name: str, versus: Versus) -> tuple[str, ...]:
    """A head in two runs; cells in the order of `HEAD_TITLES`."""
    a, b = versus.runs.values()
    missing = [letter for letter, side in versus.runs.items() if name not in side.heads]
    if missing:
        difference = f"not trained in {missing[0]}"
    elif name not in versus.differences:
        difference = "no test image in common"
    else:
        difference = _difference(versus.differences[name])
    estimates = (a.val(name), b.val(name), a.test(name), b.test(name))
    return (name, *map(percent, estimates), difference)


def _difference(found: Comparison) -> str:
    return f"{points(found.difference, unit='')}, {p_value(found.p_holm)}"
