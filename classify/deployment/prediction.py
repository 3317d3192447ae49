"""Classes and probabilities for new image files, in the order given and in bounded memory."""

import glob
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.classify.deployment.classifier import Classifier
from headbench.classify.deployment.stored_embeddings import StoredEmbeddings, for_each_file
from headbench.classify.deployment.uncertainty import Doubt, Uncertainty
from headbench.classify.errors import RunError
from headbench.extract.images.stream import ImageFile
from headbench.extract.settings import Runtime
from headbench.extract.sources.folder import image_files

STDIN = "-"


class Prediction(NamedTuple):
    """The most probable classes of one file, or why it cannot be used.

    Attributes
    ----------
    top : tuple of (str, float)
        Class names and probabilities, the most probable first; empty if the file cannot be used.
    reason : str or None
        Why it cannot be used.
    true : str or None
        Its class, if that is known; the model may not know this class.
    is_abstained : bool
        Whether the top probability is too small for an answer.
    doubt : Doubt
        Whether it looks like none of the classes, and which classes are possible.
    """

    path: Path
    top: tuple[tuple[str, float], ...]
    reason: str | None = None
    true: str | None = None
    is_abstained: bool = False
    doubt: Doubt = Doubt()

    @property
    def label(self) -> str | None:
        """The most probable class; None if the file cannot be used or there is no answer."""
        return self.top[0][0] if self.top and not self.is_abstained else None


def predict_files(
    classifier: Classifier,
    paths: Sequence[Path],
    n_top: int,
    runtime: Runtime = Runtime(),  # noqa: B008, it is frozen
    truth: Mapping[Path, str] | None = None,
    min_confidence: float = 0.0,
    uncertainty: Uncertainty = Uncertainty(),  # noqa: B008, it is immutable
    stored: StoredEmbeddings | None = None,
    contents: Mapping[Path, bytes] | None = None,
) -> Iterator[Prediction]:
    """Classify image files.

    Parameters
    ----------
    n_top : int
        Number of classes for each file.
    truth : mapping of Path to str, optional
        True classes of some files.
    min_confidence : float
        No answer is given if the top probability, 0 to 1, is below this.
    uncertainty : Uncertainty
        How predictions are doubted: see `open_uncertainty`; by default they are not.
    stored : StoredEmbeddings, optional
        Embeddings that need not be computed; a fine-tuned network uses none.
    contents : mapping of Path to bytes, optional
        The SHA-256 of some files. If their embedding is stored, they are not read.

    Yields
    ------
    Prediction
        One for each file, in the order given.

    Raises
    ------
    RunError, WeightsError, DeviceError
    """
    truth, contents = truth or {}, contents or {}
    if stored is None or classifier.head is None:
        stored = StoredEmbeddings(classifier.identity)
    files = [ImageFile(path, contents.get(path)) for path in paths]

    def predicted(rows: list[int], outputs: NDArray[np.float32]) -> Iterator[Prediction]:
        probas = classifier.proba(outputs)
        doubts = uncertainty.of(outputs, probas, classifier.classes)
        for row, proba, doubt in zip(rows, probas, doubts, strict=True):
            top = top_classes(proba, classifier.classes, n_top)
            is_abstained = top[0][1] < min_confidence
            yield Prediction(paths[row], top, None, truth.get(paths[row]), is_abstained, doubt)

    def unusable(row: int, reason: str) -> Prediction:
        return Prediction(paths[row], (), reason, truth.get(paths[row]))

    yield from for_each_file(
        lambda: classifier.network, files, stored, runtime, predicted, unusable
    )


def top_classes(
    proba: NDArray[np.float32], classes: Sequence[str], n_top: int
) -> tuple[tuple[str, float], ...]:
    """The most probable classes and their probabilities, of float32 (n_classes,)."""
    order = np.argsort(-proba, kind="stable")[:n_top]
    return tuple((classes[label], float(proba[label])) for label in order)


def expand(
    named: Sequence[str],
    is_null_separated: bool = False,
    read_stdin: Callable[[], bytes] = lambda: sys.stdin.buffer.read(),
) -> Iterator[Path]:
    """The files that were named, in that order; a file that is named twice comes twice.

    Parameters
    ----------
    named : sequence of str
        Files, which may be missing; folders, for the image files in them at any depth; patterns as
        in a shell, with ``**`` for any depth; and ``-`` for a list of files on standard input, one
        a line.
    is_null_separated : bool
        Whether paths in that list end with NUL and not with a line end.
    read_stdin : callable
        Gives the list.

    Raises
    ------
    RunError
        If a folder, a pattern or the list has no file, or a name is empty.
    """
    for each in named:
        if not each:
            # `Path` would take it for the current folder, with all that is in it.
            raise RunError(
                "--images: expected a file, a folder, a pattern or -, found an empty name. If it "
                "comes from a variable of the shell, check its value. The current folder is '.'."
            )
        path = Path(each)
        if each == STDIN:
            yield from _listed(read_stdin(), is_null_separated)
        elif path.is_dir():
            yield from _in_folder(path)
        elif glob.has_magic(each) and not path.exists():
            yield from _matching(each)
        else:
            # A missing file does not end the whole call: it is reported like a damaged one.
            yield path


def _in_folder(folder: Path) -> list[Path]:
    found = list(image_files(folder))
    if not found:
        raise RunError(f"{folder}: expected image files in this folder, found none.")
    return found


def _matching(pattern: str) -> Iterator[Path]:
    found = [path for path in sorted(glob.glob(pattern, recursive=True)) if not os.path.isdir(path)]
    if not found:
        raise RunError(f"{pattern}: expected files that match this pattern, found none.")
    return map(Path, found)


def _listed(text: bytes, is_null_separated: bool) -> Iterator[Path]:
    if is_null_separated:
        names = list(filter(None, text.split(b"\0")))
    else:
        lines = (line.removesuffix(b"\r") for line in text.split(b"\n"))
        names = [line for line in lines if line.strip()]
    if not names:
        raise RunError("-: expected paths on standard input, one a line, found none.")
    return (Path(os.fsdecode(name)) for name in names)
