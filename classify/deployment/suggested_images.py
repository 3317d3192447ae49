"""`headbench suggest`: images without labels that are worth a label, and a list to fill in."""

import csv
import io
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.cache.disk import replace_texts
from headbench.cache.format import SPLITS, UNLABELLED, Config, Table
from headbench.cache.progress import Progress
from headbench.cache.reader import FeatureFile
from headbench.classify.deployment.named_images import place_of
from headbench.classify.deployment.prediction import top_classes
from headbench.classify.errors import RunError
from headbench.classify.heads.head import Head
from headbench.classify.heads.registry import load_trained_head
from headbench.classify.heads.streaming import row_blocks
from headbench.classify.inspection.label_next import RULES, choose, distance_to, uncertainty
from headbench.classify.report.image_page import first, write_image_page
from headbench.classify.report.photographs import Card, Gallery, Thumbnails
from headbench.classify.run import Run, Trained, is_finetuned, rank
from headbench.classify.train_heads import class_proba
from headbench.classify.wording import count
from headbench.extract.sources import python, shards
from headbench.extract.sources.manifest import ALLOWED, GUESS
from headbench.extract.sources.source import Source
from headbench.extract.sources.urls import is_url

LOG = logging.getLogger(__name__)

MOST_CARDS = 1000
# Optional columns of a list, and what they are for an image of which nothing is known.
UNKNOWN = {"group": "", "weight": "1"}


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
    guess = partial(_proba, load_trained_head(trained), pool, len(labelled.classes))
    unsure = np.concatenate([uncertainty(proba) for proba in guess(rows)])
    distance = partial(
        distance_to, pool.read, read_others=labelled.read, others=labelled.rows("train")
    )
    LOG.info(f"head {trained.record.name}; {rule}: {RULES[rule]}")
    chosen = choose(rule, pool.read, rows, unsure, distance, min(n, len(rows)))
    paths, _, _ = pool.about(rows[chosen])
    probas = chain.from_iterable(guess(rows[chosen]))
    return [
        Suggestion(int(row), path, *top, float(1 - doubt))
        for row, path, proba, doubt in zip(rows[chosen], paths, probas, unsure[chosen], strict=True)
        for top in top_classes(proba, labelled.classes, 1)
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
    table = labelled.table
    optional = [name for name in UNKNOWN if f"{name}s" in table.optional]
    text, named = io.StringIO(), _Addresses(path.absolute().parent)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", GUESS, "probability", "split", *optional])
    for each in suggestions:
        guess = (each.guess, f"{each.probability:.3f}", "train")
        unknown = (UNKNOWN[name] for name in optional)
        writer.writerow([named.of(pool.config, each.path), "", *guess, *unknown])
    if is_listable:
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
    shown, note = first(suggestions, MOST_CARDS)
    cards = []
    for place, each in enumerate(shown, 1):
        guess = f"{place}. {each.guess} ({each.probability:.2f})"
        cards.append(Card(each.row, (guess, f"margin {each.margin:.2f}", each.path)))
    gallery = Gallery("", "", cards)
    write_image_page(path, title, [*notes, note], [gallery], Thumbnails(pool, images))


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


def _proba(
    head: Head, pool: FeatureFile, n_classes: int, rows: NDArray[np.intp]
) -> Iterator[NDArray[np.float32]]:
    """Probabilities of the classes, block by block."""
    with Progress("guess", len(rows)) as progress:
        for block in row_blocks(len(rows)):
            yield class_proba(head, pool.read(rows[block]), n_classes)
            progress.update(len(rows[block]))
