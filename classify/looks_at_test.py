"""How often test has been looked at, and what that does to the interval of its accuracy.

Val chooses the head, so one look at test measures it fairly. Whoever looks again after a change,
and keeps what did best on test, has chosen on test: the best of several figures is too high on
average. `corrected` gives the interval that still holds then.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from scipy.special import ndtri

from headbench.cache.disk import one_writer, replacing
from headbench.cache.errors import FeatureFileError, StorageError
from headbench.cache.reader import FeatureFile
from headbench.cache.untrusted import read_json
from headbench.classify.checked import check_fields, json_text
from headbench.classify.errors import loading
from headbench.classify.intervals import SIGNIFICANT, Estimate, wilson
from headbench.classify.run import Trained

LOG = logging.getLogger(__name__)

LOOKS_FILE = "looks_at_test.json"
LOOKS_VERSION = 1
WAY_OUT = "Delete it: looks at test are then counted from the start."
# So long another process is waited for.
WAIT_SECONDS = 10.0


@dataclass(frozen=True)
class Look:
    """A set of heads that was measured on test, once or more often.

    Attributes
    ----------
    test : str
        SHA-256 of the test images and their labels.
    heads : mapping of str to str
        SHA-256 of the probabilities on test, by the name of the head.
    n : int
        How often.
    first, last : str
        When; ISO 8601, UTC.
    """

    test: str
    heads: Mapping[str, str]
    n: int
    first: str
    last: str


class LooksAtTest(NamedTuple):
    """How often these test images have been looked at in this run.

    Attributes
    ----------
    n_looks : int
        Reports, and predictions of labelled test images.
    n_sets : int
        Different sets of heads among them. One that was part of an earlier set is not counted.
    """

    n_looks: int
    n_sets: int

    @property
    def is_chosen_on(self) -> bool:
        """Whether a choice may have been made on test."""
        return self.n_sets > 1

    def corrected(self, accuracy: Estimate) -> Estimate:
        """An accuracy with Wilson's interval for the best of all sets, by Bonferroni.

        The intervals of all sets, at 95 % together, hold at once; so that of the best does too.
        """
        z = float(-ndtri(SIGNIFICANT / self.n_sets / 2))
        return wilson(round(accuracy.value * accuracy.n), accuracy.n, z)

    def describe(self, head: str = "", accuracy: Estimate | None = None) -> str:
        """Sentences; the accuracy of a head on test is added with its corrected interval."""
        if self.n_looks == 1:
            return "This is the first look at test in this run."
        times = f"Test has been looked at {self.n_looks} times in this run"
        if not self.is_chosen_on:
            return f"{times}, with the same heads: that is no choice, and the interval holds."
        text = (
            f"{times}, with {self.n_sets} different sets of heads. If one of them was kept because "
            "it did well on test, its test accuracy is too high on average, and its interval is "
            "too narrow."
        )
        if accuracy is None:
            return text
        found = self.corrected(accuracy)
        return (
            f"{text} If {head} is the best of {self.n_sets}, the interval that holds is "
            f"{100 * found.low:.1f} to {100 * found.high:.1f} % (Bonferroni), not "
            f"{100 * accuracy.low:.1f} to {100 * accuracy.high:.1f} %."
        )


def count_look(folder: Path, features: FeatureFile, measured: Sequence[Trained]) -> LooksAtTest:
    """Count that heads are measured on test, in the folder of a run.

    If it cannot be written down, for instance as the folder is read-only, a line says so.

    Raises
    ------
    RunError
        If the file of earlier looks is damaged.
    """
    path, test = folder / LOOKS_FILE, _test_digest(features)
    heads = {each.record.name: sha256(each.test.tobytes()).hexdigest() for each in measured}
    try:
        with one_writer(path, WAIT_SECONDS):
            looks = _with(read_looks(path), test, heads)
            with replacing(path) as temporary:
                temporary.write_text(_as_json(looks), "utf-8", newline="\n")
    except (StorageError, FeatureFileError) as error:
        LOG.warning(f"This look at test is not counted. {error}")
        looks = _with(read_looks(path), test, heads)
    return summarize([each for each in looks if each.test == test])


def read_looks(path: Path) -> list[Look]:
    """All looks so far, of other test images too; the first set of heads first.

    Raises `RunError` if the file is damaged.
    """
    if not path.exists():
        return []
    with loading(path, WAY_OUT):
        raw = read_json(path)
        if raw["version"] != LOOKS_VERSION:
            raise ValueError(f"expected version {LOOKS_VERSION}, found {raw['version']!r}")
        for each in raw["looks"]:
            check_fields(Look, each)
            if each["n"] < 1 or not each["heads"]:
                raise ValueError("expected heads that were looked at once or more often")
        return [Look(**each) for each in raw["looks"]]


def summarize(looks: Sequence[Look]) -> LooksAtTest:
    """Count looks at the same test images, the first set of heads first."""
    seen: list[set[tuple[str, str]]] = []
    for each in looks:
        heads = set(each.heads.items())
        if not any(heads <= earlier for earlier in seen):
            seen.append(heads)
    return LooksAtTest(sum(each.n for each in looks), len(seen))


def _with(looks: list[Look], test: str, heads: Mapping[str, str]) -> list[Look]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    same = [each for each in looks if (each.test, each.heads) == (test, heads)]
    if not same:
        return [*looks, Look(test, heads, 1, now, now)]
    [found] = same
    again = Look(test, heads, found.n + 1, found.first, now)
    return [again if each is found else each for each in looks]


def _as_json(looks: Sequence[Look]) -> str:
    return json_text({"version": LOOKS_VERSION, "looks": [asdict(each) for each in looks]}) + "\n"


def _test_digest(features: FeatureFile) -> str:
    """Of the images of test and their classes, in any order."""
    rows = features.rows("test")
    contents = features.dataset("content_sha256").read(rows)
    names = (features.classes[label] for label in features.labels("test"))
    images = sorted(
        bytes(content) + name.encode() for content, name in zip(contents, names, strict=True)
    )
    return sha256(b"\0".join(images)).hexdigest()
