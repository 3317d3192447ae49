"""`headbench suggest`: images without labels that are worth a label, and a list to fill in."""

import csv
import io
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.cache.disk import replace_texts
from headbench.cache.format import SPLITS, UNLABELLED, Config, Table
from headbench.cache.progress import Progress
from headbench.cache.reader import FeatureFile
from headbench.classify.deployment.named_images import place_of
from headbench.classify.errors import RunError
from headbench.classify.heads.registry import load_trained_head
from headbench.classify.heads.streaming import row_blocks
from headbench.classify.inspection.label_next import choose, distance_to, uncertainty
from headbench.classify.report.image_page import write_image_page
from headbench.classify.report.photographs import Card, Gallery, Thumbnails
from headbench.classify.run import Run, Trained, is_finetuned, rank
from headbench.classify.train_heads import class_proba
from headbench.classify.wording import count
from headbench.extract.sources import python, shards
from headbench.extract.sources.manifest import ALLOWED, GUESS
from headbench.extract.sources.source import Source
from headbench.extract.sources.urls import is_url

LOG = logging.getLogger(__name__)

THUMBNAIL_PX = 112
MOST_CARDS = 1000
RULES = {
    "uncertainty": "the smallest margins between the two most probable classes",
    "cover": "each the farthest from train and from those before it (greedy k-centre)",
    "both": "spread out among 3 times as many with the smallest margins",
}


@dataclass(frozen=True)
class Suggestion:
    """An image to label.

    Attributes
    ----------
    row : int
        Of the feature file without labels.
    path : str
        As that file names it.
    guess : str
        The class that the head gives it.
    probability : float
    margin : float
        Between its two most probable classes, 0 to 1.
    """

    row: int
    path: str
    guess: str
    probability: float
    margin: float


class Guesses(NamedTuple):
    """What a head says about each candidate.

    Attributes
    ----------
    label : intp (n,)
    probability, uncertainty : float32 (n,)
    """

    label: NDArray[np.intp]
    probability: NDArray[np.float32]
    uncertainty: NDArray[np.float32]


def suggest(
    run: Run, labelled: FeatureFile, pool: FeatureFile, n: int, rule: str, head: str | None
) -> list[Suggestion]:
    """Choose images of `pool` to label, the most wanted first.

    Parameters
    ----------
    labelled : FeatureFile
        That of `run`.
    pool : FeatureFile
        Images without labels, by the same network.
    n : int
        Fewer are chosen if there are not as many.
    rule : str
        A key of `RULES`.
    head : str or None
        A trained head; None for the best on val.

    Raises
    ------
    RunError, FeatureFileError
    """
    if rule not in RULES:
        raise RunError(f"by: expected {', '.join(RULES)}, found {rule!r}.")
    trained = _head(run, labelled, head)
    _require_same_network(labelled, pool)
    rows = _candidates(labelled, pool)
    guesses = _guess(trained, pool, rows, len(labelled.classes))
    distance = partial(
        distance_to, pool.read, read_others=labelled.read, others=labelled.rows("train")
    )
    LOG.info(f"head {trained.record.name}; {rule}: {RULES[rule]}")
    unsure = guesses.uncertainty
    chosen = choose(rule, pool.read, rows, unsure, distance, min(n, len(rows)))
    paths, _, _ = pool.about(rows[chosen])
    return [
        Suggestion(
            int(rows[place]),
            path,
            labelled.classes[guesses.label[place]],
            float(guesses.probability[place]),
            float(1 - unsure[place]),
        )
        for place, path in zip(chosen.tolist(), paths, strict=True)
    ]


def write_list(
    path: Path, labelled: FeatureFile, pool: FeatureFile, suggestions: Sequence[Suggestion]
) -> None:
    """Write a list to fill in: the suggestions, then all images of the run with label and split.

    Raises
    ------
    RunError
        If the file is there: it may hold labels.
    """
    if path.exists():
        raise RunError(
            f"{path}: is there already, and labels in it would be lost. Name another file (--csv), "
            "or delete this one."
        )
    layout = labelled.config.data.get("layout")
    is_listable = layout not in (*python.LAYOUTS, shards.LAYOUT)
    if not is_listable:
        LOG.info(f"note: {path}: holds the suggestions alone: a list cannot name {layout}")
    table = (
        labelled.table if is_listable else labelled.table.select(np.zeros(labelled.n_images, bool))
    )
    optional = [name for name in ("group", "weight") if f"{name}s" in table.optional]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", GUESS, "probability", "split", *optional])
    named = _Addresses(path.absolute().parent)
    for each in suggestions:
        empty = {"group": "", "weight": "1"}
        known = [
            each.guess,
            f"{each.probability:.3f}",
            "train",
            *(empty[name] for name in optional),
        ]
        writer.writerow([named.of(pool.config, each.path), "", *known])
    writer.writerows(_known_rows(table, named, optional))
    replace_texts(path.absolute().parent, {path.name: text.getvalue()})
    if named.protocols:
        allowed = ",".join(sorted(named.protocols))
        LOG.info(
            f"note: {path}: some images lie outside its folder. 'headbench features' opens them "
            f"with {ALLOWED}={allowed}; or write the list to a folder above all of them (--csv)."
        )


def write_page(
    path: Path,
    title: str,
    notes: Sequence[str],
    pool: FeatureFile,
    suggestions: Sequence[Suggestion],
    images: Source,
) -> None:
    """Write the suggestions as a page of thumbnails with the present guess."""
    shown = suggestions[:MOST_CARDS]
    thumbnails = Thumbnails(pool, images)
    pictures = thumbnails.make([each.row for each in shown], THUMBNAIL_PX)
    cards = [
        Card(
            each.row,
            (
                f"{place}. {each.guess} ({each.probability:.2f})",
                f"margin {each.margin:.2f}",
                each.path,
            ),
        )
        for place, each in enumerate(shown, 1)
    ]
    n_more = len(suggestions) - len(shown)
    more = f"The first {len(shown)} of {len(suggestions)} are shown." if n_more else ""
    gallery = Gallery("", "", cards)
    write_image_page(path, title, [*notes, more, thumbnails.note], [gallery], pictures)


class _Addresses:
    """How a list in a folder names images; `protocols` are those that its reader has to allow."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self.protocols: set[str] = set()

    def of(self, config: Config, path: str) -> str:
        """Relative, if it is below the folder; else absolute or a URL."""
        name = str(config.data["folder"])
        if is_url(path) or is_url(name):
            first, chained, others = name.partition("::")
            url = path if is_url(path) else f"{first.rstrip('/')}/{path}{chained}{others}"
            self.protocols.add(url.partition("://")[0])
            return url
        whole = os.path.abspath(place_of(config, path))
        if os.path.commonpath([whole, self._folder]) == self._folder:
            return Path(os.path.relpath(whole, self._folder)).as_posix()
        self.protocols.add("file")
        return Path(whole).as_posix()


def _known_rows(table: Table, named: _Addresses, optional: Sequence[str]) -> Iterator[list[str]]:
    """Rows of images that have a label: their split stays, so that test is what it was."""
    columns = [table.optional[f"{name}s"].tolist() for name in optional]
    more = zip(*columns, strict=True) if columns else [()] * len(table.paths)
    rows = zip(table.paths, table.labels.tolist(), table.splits.tolist(), more, strict=True)
    for path, label, split, values in rows:
        where = named.of(table.config, path)
        yield [where, table.classes[label], "", "", SPLITS[split], *map(str, values)]


def _head(run: Run, labelled: FeatureFile, name: str | None) -> Trained:
    trained = [run.find(name, labelled)] if name else run.trained(labelled)
    heads = [each for each in trained if not is_finetuned(each.record.name)]
    if not heads:
        raise RunError(
            f"{run.folder}: expected a head on embeddings, found {trained[0].record.name}, which "
            "needs the images. Name another with --head."
        )
    return rank(heads, labelled.labels("val"))[0]


def _require_same_network(labelled: FeatureFile, pool: FeatureFile) -> None:
    differences = pool.identity.differences(labelled.identity)
    if differences:
        raise RunError(
            f"{pool.path}: expected embeddings by the network of {labelled.path}, found another "
            f"({'; '.join(differences)}). Run 'headbench features --unlabelled' with the same "
            "options."
        )


def _candidates(labelled: FeatureFile, pool: FeatureFile) -> NDArray[np.intp]:
    """The first row of each content that has no label yet; ascending."""
    known, found = (
        np.ascontiguousarray(each.dataset("content_sha256").read()).view("S32").ravel()
        for each in (labelled, pool)
    )
    rows = pool.rows(UNLABELLED)
    if not len(rows):
        raise RunError(
            f"{pool.path}: expected images without labels, found labelled ones. Make them with "
            "'headbench features FOLDER --unlabelled'."
        )
    _, first = np.unique(found, return_index=True)
    is_known = np.isin(found[first], known)
    new = np.sort(first[~is_known])
    n_copies, n_known = len(rows) - len(first), int(is_known.sum())
    if n_copies or n_known:
        LOG.info(
            f"left out: {count(n_known, 'image')} with a label, {n_copies} equal to another image"
        )
    if not len(new):
        raise RunError(f"{pool.path}: every image in it has a label in {labelled.path} already.")
    return new


def _guess(trained: Trained, pool: FeatureFile, rows: NDArray[np.intp], n_classes: int) -> Guesses:
    head = load_trained_head(trained)
    n = len(rows)
    found = Guesses(np.empty(n, np.intp), np.empty(n, np.float32), np.empty(n, np.float32))
    with Progress("guess", len(rows)) as progress:
        for block in row_blocks(len(rows)):
            proba = class_proba(head, pool.read(rows[block]), n_classes)
            found.label[block], found.probability[block] = proba.argmax(axis=1), proba.max(axis=1)
            found.uncertainty[block] = uncertainty(proba)
            progress.update(len(proba))
    return found
