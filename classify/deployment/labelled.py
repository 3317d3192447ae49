"""Accuracy on new files whose true class is the name of a folder.

`true_classes` finds the labels, `seen_files` finds the files that the run has, which the head was
trained or chosen on, and `Scores` counts.
"""

import logging
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from headbench.cache.format import SPLITS
from headbench.cache.progress import Progress
from headbench.cache.reader import FeatureFile
from headbench.classify.deployment.named_images import STDIN
from headbench.classify.deployment.prediction import Prediction
from headbench.classify.intervals import wilson
from headbench.classify.metrics import TOP_K
from headbench.classify.wording import count, percent, some
from headbench.extract.errors import LayoutError
from headbench.extract.images.stream import ImageFile, hash_files
from headbench.extract.sources.folder import Folder, image_files
from headbench.extract.sources.open import list_images
from headbench.extract.sources.source import Dataset, LabelledImage

LOG = logging.getLogger(__name__)

*SEEN_SPLITS, TEST = SPLITS


def true_classes(named: Sequence[str], classes: Sequence[str]) -> dict[Path, str]:
    """The true class of each file, taken from the names of folders.

    Class folders inside a named folder give it, in a layout that headbench knows; otherwise the
    name of the folder itself.

    Parameters
    ----------
    named : sequence of str
        What the user named: see `expand`. Only folders give labels.
    classes : sequence of str
        Classes of the model. A folder that is named after none of them gives no labels.
    """
    truth: dict[Path, str] = {}
    of_one_class: list[str] = []
    for folder in (Path(each) for each in named if each != STDIN and Path(each).is_dir()):
        try:
            dataset = list_images(Folder(folder))
        except LayoutError as error:
            LOG.info(f"{folder}: accuracy is unknown: {error.what}")
            continue
        # Absolute, as "." has no name. A link has the name that was given.
        own_name = os.path.basename(os.path.abspath(folder))
        if set(classes).intersection(dataset.classes):
            truth |= _by_folders_inside(folder, own_name, dataset, set(classes))
        elif own_name in classes:
            truth |= dict.fromkeys(image_files(folder), own_name)
            of_one_class.append(str(folder))
        elif dataset.classes:
            LOG.info(
                f"{folder}: accuracy is unknown: no folder in it is named after a class (found "
                f"{some(dataset.classes)}; expected {some(classes)})"
            )
    if of_one_class:
        LOG.info(f"{some(of_one_class)}: the name of the folder is taken as the true class")
    return truth


def _by_folders_inside(
    folder: Path, own_name: str, dataset: Dataset, classes: set[str]
) -> dict[Path, str]:
    if ambiguous := _between(dataset, classes, own_name):
        LOG.info(
            f"{folder}: accuracy is unknown: {ambiguous.path} lies in the folders of two classes"
        )
        return {}
    LOG.info(f"{folder}: true classes are taken from the names of its folders ({dataset.layout})")
    if unknown := sorted(set(dataset.classes) - classes):
        n = count(len(unknown), "folder") + (" names" if len(unknown) == 1 else " name")
        LOG.info(f"{n} no class of the model: {some(unknown)}")
    return {folder / image.path: image.class_name for image in dataset.images}


def _between(dataset: Dataset, classes: set[str], own_name: str) -> LabelledImage | None:
    """The first image that lies in folders of two classes, one inside the other."""
    for image in dataset.images:
        if own_name in classes - {image.class_name}:
            return image
        folders = PurePosixPath(image.path).parts[:-1]
        inner = folders[folders.index(image.class_name) + 1 :]
        if classes.intersection(inner):
            return image
    return None


def seen_files(features: FeatureFile, paths: Sequence[Path]) -> dict[Path, str]:
    """The split of each file that has the same content as an image of the run."""
    table = features.table
    splits = (SPLITS[split] for split in table.splits.tolist())
    split_of = dict(zip(table.contents(), splits, strict=True))
    seen: dict[Path, str] = {}
    with Progress("compare with train, val and test", len(paths)) as progress:
        for path, content in zip(paths, hash_files(map(ImageFile, paths)), strict=True):
            # A file that cannot be read is no copy; its prediction says why.
            if isinstance(content, bytes) and content in split_of:
                seen[path] = split_of[content]
            progress.update()
    return seen


class Outcome(NamedTuple):
    """The result for a file whose class is known.

    Attributes
    ----------
    split : str or None
        The split that it is in: ``train``, ``val``, or None for a new file.
    rank : int
        Number of classes that were more probable than the true one; the number of all classes, if
        the model does not know the true one.
    """

    true: str
    split: str | None
    is_answered: bool
    rank: int


class Scores:
    """Counts predictions, each labelled file once; for `seen` see `seen_files`."""

    def __init__(
        self, classes: Collection[str], seen: Mapping[Path, str], min_confidence: float
    ) -> None:
        self._classes, self.seen, self._min_confidence = classes, seen, min_confidence
        self.n_files = self.n_unusable = self.n_abstained = self.n_foreign = self.n_test = 0
        self._outcomes: Counter[Outcome] = Counter()
        self._labelled: set[str] = set()
        self._n_again = 0

    def count(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Count predictions and yield them; each needs at least 5 classes, if there are so many."""
        for each in predictions:
            self.n_files += 1
            self.n_unusable += each.reason is not None
            self.n_abstained += each.is_abstained
            self.n_foreign += bool(each.doubt.is_foreign)
            if each.true is not None and each.reason is None:
                self._add(each, each.true)
            yield each

    def lines(self) -> Iterator[str]:
        """Unusable files, abstentions and accuracies, a line each."""
        n_usable = self.n_files - self.n_unusable
        if self.n_unusable:
            yield f"{self.n_unusable} of {count(self.n_files, 'file')} cannot be used"
        if self._min_confidence > 0 and n_usable:
            abstained = percent(wilson(self.n_abstained, n_usable))
            yield (
                f"abstained: {self.n_abstained} of {n_usable}, {abstained}, "
                f"below {self._min_confidence:g}"
            )
        if self.n_foreign:
            verb = "looks" if self.n_foreign == 1 else "look"
            yield (
                f"{self.n_foreign} of {count(n_usable, 'image')} {verb} like none of the classes "
                "(out of distribution)"
            )
        if self._outcomes:
            yield from self._accuracies()

    def _add(self, prediction: Prediction, true: str) -> None:
        path = os.path.abspath(prediction.path)
        self._n_again += path in self._labelled
        if path not in self._labelled:
            self._labelled.add(path)
            names = [name for name, _ in prediction.top]
            rank = names.index(true) if true in names else len(self._classes)
            split = self.seen.get(prediction.path)
            self.n_test += split == TEST
            split = split if split in SEEN_SPLITS else None
            self._outcomes[Outcome(true, split, not prediction.is_abstained, rank)] += 1

    def _accuracies(self) -> Iterator[str]:
        outcomes = self._outcomes
        known = Counter({each: n for each, n in outcomes.items() if each.true in self._classes})
        new = Counter({each: n for each, n in outcomes.items() if each.split is None})
        n_unknown = outcomes.total() - known.total()
        n_seen = {
            split: sum(n for each, n in outcomes.items() if each.split == split)
            for split in SEEN_SPLITS
        }
        if self._n_again:
            yield f"{count(self._n_again, 'labelled file')} named twice: each counts once below"
        yield f"all labelled files: {self._accuracy(outcomes)}"
        if n_unknown:
            names = sorted({each.true for each in outcomes} - set(self._classes))
            yield (
                f"{count(n_unknown, 'file')} of classes that the model does not know "
                f"({some(names)}) count as wrong above;"
            )
            yield f"  without them: {self._accuracy(known)}"
        if any(n_seen.values()):
            where = ", ".join(f"{n} in {split}" for split, n in n_seen.items())
            yield f"files that the head was trained or chosen on, by content: {where};"
            yield f"  without them: {self._accuracy(new)}"
            if n_unknown:
                yield f"without either: {self._accuracy(known & new)}"

    def _accuracy(self, outcomes: Counter[Outcome]) -> str:
        """Accuracy over the answered files, and their share if some may not be answered."""
        n_asked = outcomes.total()
        ranks = Counter[int]()
        for each, n_files in outcomes.items():
            ranks[each.rank] += n_files * each.is_answered
        n, answered = ranks.total(), ""
        if self._min_confidence > 0 and n_asked:
            answered = f"answered {percent(wilson(n, n_asked))} (n={n_asked}), "
        if n == 0:
            return f"{answered}no answers to measure"
        top1, top5 = (percent(wilson(sum(ranks[at] for at in range(k)), n)) for k in (1, TOP_K))
        top5 = f", top-5 {top5}" if len(self._classes) > TOP_K else ""
        return f"{answered}top-1 {top1}{top5} (n={n})"
