"""What is said at the end of predictions: what could not be used, and how many were right."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from classify.bootstrap import wilson
from classify.deployment.predict import Prediction
from classify.deployment.seen import SEEN_SPLITS
from classify.metrics import TOP_K
from classify.wording import count, percent, some


class Outcome(NamedTuple):
    """What happened to a file whose class is known.

    Attributes
    ----------
    true : str
    split : str or None
        Where it was when the head was trained: ``train``, ``val``, or elsewhere.
    is_answered : bool
    rank : int
        How many classes were more probable than the true one; as many as there are, if that is none
        of the model's.
    """

    true: str
    split: str | None
    is_answered: bool
    rank: int


class Scores:
    """Counts predictions as they pass, each labelled file once.

    Parameters
    ----------
    classes : collection of str
        Those of the model.
    seen : mapping of Path to str
        See `seen_files`.
    min_confidence : float
        What predictions were made with.
    """

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
        """What there is to say, a line at a time."""
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
        """Accuracy over the answered files; how many those are, where some are not."""
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
