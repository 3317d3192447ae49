"""How often test has been looked at, and what that does to the interval of its accuracy.

Val chooses the head, so one look at test measures it fairly. Whoever looks again after a change,
and keeps what did best on test, has chosen on test: the best of several figures is too high on
average. `corrected` gives the interval that still holds then.
"""

import logging
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, TypedDict

from scipy.special import ndtri

from headbench.cache.disk import one_writer, replace_texts
from headbench.cache.errors import FeatureFileError, StorageError
from headbench.cache.reader import FeatureFile
from headbench.cache.untrusted import read_json
from headbench.classify.checked import check_fields, json_text
from headbench.classify.errors import loading
from headbench.classify.intervals import SIGNIFICANT, Estimate, wilson
from headbench.classify.run import Trained

LOG = logging.getLogger(__name__)

LOOKS_FILE = "looks_at_test.json"
WAY_OUT = "Delete it: looks at test are then counted from the start."
# So long another process is waited for.
WAIT_SECONDS = 10.0


class Looks(TypedDict):
    """Looks at the same test images, as they stand in the file.

    `sets` are the sets of heads that were measured: the SHA-256 of the probabilities on test, by
    the name of the head.
    """

    n_looks: int
    sets: list[dict[str, str]]


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
        if self.n_sets == 1:
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
            looks = read_looks(path)
            found = add_look(looks, test, heads)
            replace_texts(folder, {LOOKS_FILE: json_text(looks)})
    except (StorageError, FeatureFileError) as error:
        LOG.warning(f"This look at test is not counted. {error}")
        found = add_look(read_looks(path), test, heads)
    return found


def read_looks(path: Path) -> dict[str, Looks]:
    """All looks so far, by the SHA-256 of the test images; `RunError` if the file is damaged."""
    with loading(path, WAY_OUT):
        looks: dict[str, Looks] = read_json(path) if path.exists() else {}
        for each in looks.values():
            check_fields(Looks, each)
            if not 0 < len(each["sets"]) <= each["n_looks"]:
                raise ValueError("expected a look, or more, at each set of heads")
        return looks


def add_look(looks: dict[str, Looks], test: str, heads: dict[str, str]) -> LooksAtTest:
    """Add a look of some heads at test images to those so far; gives all at these images."""
    found = looks.setdefault(test, {"n_looks": 0, "sets": []})
    found["n_looks"] += 1
    if not any(heads.items() <= earlier.items() for earlier in found["sets"]):
        found["sets"].append(heads)
    return LooksAtTest(found["n_looks"], len(found["sets"]))


def _test_digest(features: FeatureFile) -> str:
    """Of the images of test and their classes, in any order."""
    rows = features.rows("test")
    contents = features.dataset("content_sha256").read(rows)
    names = (features.classes[label] for label in features.labels("test"))
    images = sorted(
        bytes(content) + name.encode() for content, name in zip(contents, names, strict=True)
    )
    return sha256(b"\0".join(images)).hexdigest()
