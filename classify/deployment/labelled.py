"""Accuracy on new files whose true class is known from the names of their folders.

`true_classes` finds the labels, `seen_files` the files that the head was trained or chosen on, and
`Scores` counts.
"""

import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from headbench.cache.format import SPLITS
from headbench.cache.reader import FeatureFile
from headbench.classify.deployment.prediction import STDIN, Prediction
from headbench.classify.intervals import wilson
from headbench.classify.metrics import TOP_K
from headbench.classify.wording import count, percent, some
from headbench.extract.images.stream import ImageFile, hash_files
from headbench.extract.progress import Progress
from headbench.extract.sources.folder import Folder, image_files
from headbench.extract.sources.open import list_images
from headbench.extract.sources.source import Dataset, LabelledImage

LOG = logging.getLogger(__name__)

SEEN_SPLITS = ("train", "val")


def true_classes(named: Sequence[str], classes: Sequence[str]) -> dict[Path, str]:
    """The class of each file in the folders that were named, where names of folders give it.

    Those are the folders of a layout that we know; or else the folder that was named itself.

    Parameters
    ----------
    named : sequence of str
        What the user named: see `expand`. Labels are taken from folders only.
    classes : sequence of str
        Those of the model; where no folder is named after one of them, there are no labels.
    """
    truth: dict[Path, str] = {}
    of_one_class: list[str] = []
    for folder in (Path(each) for each in named if each != STDIN and Path(each).is_dir()):
        dataset = list_images(Folder(folder))
        own_name = _own_name(folder)
        if set(classes).intersection(dataset.classes):
            truth |= _by_folders_inside(folder, own_name, dataset, set(classes))
        elif own_name in classes:
            truth |= dict.fromkeys(image_files(folder), own_name)
            of_one_class.append(str(folder))
        else:
            _say_none(folder, dataset.classes, classes)
    if of_one_class:
        LOG.info(f"{some(of_one_class)}: the true class is the name of the folder itself")
    return truth


def _own_name(folder: Path) -> str:
    # Absolute, as "." has no name. Links are not followed: the link has the name that was given.
    return os.path.basename(os.path.abspath(folder))


def _by_folders_inside(
    folder: Path, own_name: str, dataset: Dataset, classes: set[str]
) -> dict[Path, str]:
    if ambiguous := _between(dataset, classes, own_name):
        LOG.info(
            f"{folder}: no labels are taken from it: {ambiguous.path} is in folders of two classes."
        )
        return {}
    LOG.info(f"{folder}: true classes are taken from the names of its folders ({dataset.layout})")
    _say_unknown(sorted(set(dataset.classes) - classes))
    return {folder / image.path: image.class_name for image in dataset.images}


def _say_none(folder: Path, found: Sequence[str], classes: Sequence[str]) -> None:
    if found:
        LOG.info(
            f"{folder}: accuracy is unknown: no folder in it is named after a class (found "
            f"{some(found)}; expected {some(classes)})"
        )


def _say_unknown(unknown: Sequence[str]) -> None:
    if unknown:
        n = count(len(unknown), "folder") + (" names" if len(unknown) == 1 else " name")
        LOG.info(f"{n} no class of the model: {some(unknown)}")


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
    """The split of each file whose content is an image of train or val, under any name."""
    table = features.table
    splits = (SPLITS[split] for split in table.splits.tolist())
    split_of = dict(zip(table.contents(), splits, strict=True))
    seen: dict[Path, str] = {}
    with Progress("compare with train and val", len(paths)) as progress:
        for path, content in zip(paths, hash_files(map(ImageFile, paths)), strict=True):
            # A file that cannot be read is no copy; the prediction gives the reason.
            split = split_of.get(content) if isinstance(content, bytes) else None
            if split in SEEN_SPLITS:
                seen[path] = split
            progress.update()
    return seen


class Outcome(NamedTuple):
    """What happened to a file whose class is known.

    Attributes
    ----------
    split : str or None
        Where it was when the head was trained: ``train``, ``val``, or None.
    rank : int
        How many classes were more probable than the true one; the number of classes, if the model
        does not know it.
    """

    true: str
    split: str | None
    is_answered: bool
    rank: int


class Scores:
    """Counts predictions as they pass, each labelled file once; for `seen` see `seen_files`."""

    def __init__(
        self, classes: Collection[str], seen: Mapping[Path, str], min_confidence: float
    ) -> None:
        self._classes, self._seen, self._min_confidence = classes, seen, min_confidence
        self.n_files = self.n_unusable = self.n_abstained = 0
        self._outcomes: Counter[Outcome] = Counter()
        self._labelled: set[str] = set()
        self._n_again = 0

    def count(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Hand on predictions, of at least 5 classes each where there are as many."""
        for each in predictions:
            self.n_files += 1
            self.n_unusable += each.reason is not None
            self.n_abstained += each.is_abstained
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
        if self._outcomes:
            yield from self._accuracies()

    def _add(self, prediction: Prediction, true: str) -> None:
        path = os.path.abspath(prediction.path)
        if path in self._labelled:
            self._n_again += 1
        else:
            self._labelled.add(path)
            self._outcomes[self._outcome(prediction, true)] += 1

    def _outcome(self, prediction: Prediction, true: str) -> Outcome:
        names = [name for name, _ in prediction.top]
        rank = names.index(true) if true in names else len(self._classes)
        split = self._seen.get(prediction.path)
        return Outcome(true, split, not prediction.is_abstained, rank)

    def _accuracies(self) -> Iterator[str]:
        if self._n_again:
            yield f"{count(self._n_again, 'labelled file')} given again: each is counted once below"
        yield f"all labelled files: {self._accuracy(lambda _: True)}"
        unknown = self._number(lambda each: each.true not in self._classes)
        if unknown:
            names = sorted({each.true for each in self._outcomes} - set(self._classes))
            yield (
                f"{count(unknown, 'file')} of classes that the model does not know "
                f"({some(names)}) count as wrong above;"
            )
            yield f"  without them: {self._accuracy(lambda each: each.true in self._classes)}"
        seen = {split: self._number_in(split) for split in SEEN_SPLITS}
        if any(seen.values()):
            where = ", ".join(f"{n} in {split}" for split, n in seen.items())
            yield f"files that the head was trained or chosen on, by content: {where};"
            yield f"  without them: {self._accuracy(lambda each: each.split is None)}"
        if unknown and any(seen.values()):
            yield f"without either: {self._accuracy(self._is_known_and_new)}"

    def _is_known_and_new(self, outcome: Outcome) -> bool:
        return outcome.true in self._classes and outcome.split is None

    def _number_in(self, split: str) -> int:
        return self._number(lambda each: each.split == split)

    def _number(self, is_wanted: Callable[[Outcome], bool]) -> int:
        return sum(n for each, n in self._outcomes.items() if is_wanted(each))

    def _accuracy(self, is_wanted: Callable[[Outcome], bool]) -> str:
        """Accuracy over the answered files, and their share where some may not be answered."""
        n_asked = self._number(is_wanted)
        n = self._number(lambda each: is_wanted(each) and each.is_answered)
        answered = ""
        if self._min_confidence > 0 and n_asked:
            answered = f"answered {percent(wilson(n, n_asked))} (n={n_asked}), "
        if n == 0:
            return f"{answered}no answer to count"

        def share(k: int) -> str:
            right = self._number(
                lambda each: is_wanted(each) and each.is_answered and each.rank < k
            )
            return percent(wilson(right, n))

        top5 = f", top-5 {share(TOP_K)}" if len(self._classes) > TOP_K else ""
        return f"{answered}top-1 {share(1)}{top5} (n={n})"
