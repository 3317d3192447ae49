"""The results of a run as one structure, from which every form of the report is made.

``results.json`` holds it. ``schema.json`` beside this file describes it and is made from these
classes. To change it: add 1 to `SCHEMA_VERSION`, run ``python -m tests.classify.report.schema``,
and say so in CHANGELOG.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headbench.cache.format import Identity
from headbench.classify.checked import as_json
from headbench.classify.deployment.prediction_sets import SetsFound
from headbench.classify.inspection.mistakes import Bins, ConfusedPair
from headbench.classify.inspection.out_of_distribution import OutOfDistribution
from headbench.classify.intervals import Comparison
from headbench.classify.looks_at_test import LooksAtTest
from headbench.classify.metrics import ClassMetrics, Metrics
from headbench.classify.studies.folds import FoldPoint
from headbench.classify.studies.learning_curve import CurvePoint

SCHEMA_VERSION = 5


@dataclass(frozen=True)
class ClassCounts:
    """One class, with its images by split."""

    name: str
    train: int
    val: int
    test: int


@dataclass(frozen=True)
class RejectedFile:
    """A file that could not be used."""

    path: str
    reason: str


@dataclass(frozen=True)
class Features:
    """The embeddings.

    Attributes
    ----------
    fingerprint : str
        SHA-256 of the identity.
    has_random_weights : bool
        The network was not trained.
    weights : str
        As the user named them.
    data : mapping
        folder, layout, split (in words) and seed.
    dim : int
        Length of an embedding.
    n_images : int
        Images with an embedding.
    splits : mapping
        Images by split.
    classes : list
        In the order of the columns of every head's probabilities.
    rejected : list
        Files that could not be used.
    """

    identity: Identity
    fingerprint: str
    has_random_weights: bool
    weights: str
    data: Mapping[str, Any]
    dim: int
    n_images: int
    splits: Mapping[str, int]
    classes: Sequence[ClassCounts]
    rejected: Sequence[RejectedFile]


@dataclass(frozen=True)
class HeadResult:
    """One trained head, or the fine-tuned network.

    Attributes
    ----------
    fit_seconds : float
        Seconds of the whole fit, the choice on val included.
    predict_seconds : float
        Seconds per image, from embeddings in memory, many at a time; for fine-tuned networks from
        image files.
    seed : int
        Of the fit.
    chosen : mapping
        Settings that were chosen on val. is_at_limit is true if the best value was the last one
        that could be tried.
    settings : mapping
        Settings of the user, and the defaults.
    history : mapping
        Curves of the fit. train_loss, train_top1, train_top5 by epoch, from epoch 1; val_log_loss,
        val_top1, val_top5 by epoch (for fine-tuned networks from epoch 0, before any training);
        val_log_loss and train_log_loss by round; val_log_loss by C, alpha or neighbors, whose
        values are listed under that name.
    calibration : mapping
        temperature, and log_loss and ece on val before and after it; empty if none was fitted.
    is_refit : bool
        Fitted again on train and val together, with the chosen settings. The numbers on val were
        measured before that.
    n_bytes : int
        Size of the saved model on disk.
    classes : list
        Metrics of each class on test, in the order of features.classes.
    """

    name: str
    fit_seconds: float
    predict_seconds: float
    seed: int
    chosen: Mapping[str, Any]
    settings: Mapping[str, Any]
    history: Mapping[str, Sequence[float]]
    calibration: Mapping[str, Any]
    is_refit: bool
    n_bytes: int
    val: Metrics
    test: Metrics
    classes: Sequence[ClassMetrics]


@dataclass(frozen=True)
class Calibration:
    """Calibration of the head that is shown, on test.

    Attributes
    ----------
    temperature : float or None
        Fitted on val; null if none was fitted.
    before : Bins or None
        Without temperature scaling; null if no temperature was fitted.
    after : Bins
        With it.
    """

    temperature: float | None
    before: Bins | None
    after: Bins


@dataclass(frozen=True)
class ImageRow:
    """An image of the feature file.

    Attributes
    ----------
    row : int
        Counted from 0.
    class_ : str
        Its label.
    """

    row: int
    path: str
    split: str
    class_: str


@dataclass(frozen=True)
class DuplicatePair:
    """Two images that are the same file or look the same to the network.

    Attributes
    ----------
    similarity : float
        Cosine similarity of the embeddings.
    is_exact : bool
        The files have the same bytes.
    """

    first: ImageRow
    second: ImageRow
    similarity: float
    is_exact: bool


@dataclass(frozen=True)
class DuplicatesFound:
    """Duplicates in different splits or under different labels.

    Attributes
    ----------
    n_pairs : int
        Number of all pairs.
    n_exact : int
        Number of pairs with the same bytes.
    threshold : float or None
        Smallest similarity of near-duplicates; null if only exact copies were searched for.
    pairs : list
        The most similar pairs, at most 200.
    """

    n_pairs: int
    n_exact: int
    threshold: float | None
    pairs: Sequence[DuplicatePair]


@dataclass(frozen=True)
class Suspect(ImageRow):
    """An image whose label may be wrong.

    Attributes
    ----------
    probability : float
        Probability of its label.
    looks_like : str
        The most probable class.
    its_probability : float
        Probability of that class.
    """

    probability: float
    looks_like: str
    its_probability: float


@dataclass(frozen=True)
class SuspectsFound:
    """Images whose label may be wrong, by confident learning.

    Attributes
    ----------
    head : str
        The head whose probabilities were used.
    n_looked_at : int
        Number of images searched: those that this head was not fitted on.
    n_suspects : int
        Number of all images found.
    images : list
        The most suspicious images first, at most 200.
    """

    head: str
    n_looked_at: int
    n_suspects: int
    images: Sequence[Suspect]


@dataclass(frozen=True)
class Results:
    """The numbers of a report: all measured on val, then once on test.

    Attributes
    ----------
    name : str
        Name of the run.
    created : str
        ISO 8601, UTC.
    versions : mapping
        Versions of Python and of libraries.
    commands : list
        Command lines that made the run, in the order of its stages.
    best : str
        The head with the best balanced accuracy on val: the first of heads.
    heads : list
        The best balanced accuracy on val first.
    comparisons : list
        Every pair of heads.
    learning_curve : list
        Heads on shares of train, measured on val; empty without --curve.
    folds : list
        Cross-validation on train and val; empty without --folds.
    looks_at_test : LooksAtTest
        This one counted.
    out_of_distribution : OutOfDistribution
        Of the embeddings, whatever head is shown.
    shown : str
        The head that everything below is about.
    confusions : list
        The most confused pairs of classes on test, at most 20, the largest first.
    suspects : SuspectsFound or None
        Null if cleanlab is not installed.
    """

    schema_version: int
    name: str
    created: str
    versions: Mapping[str, str | None]
    commands: Sequence[str]
    features: Features
    best: str
    heads: Sequence[HeadResult]
    comparisons: Sequence[Comparison]
    learning_curve: Sequence[CurvePoint]
    folds: Sequence[FoldPoint]
    looks_at_test: LooksAtTest
    out_of_distribution: OutOfDistribution
    shown: str
    confusions: Sequence[ConfusedPair]
    reliability: Calibration
    prediction_sets: SetsFound
    duplicates: DuplicatesFound
    suspects: SuspectsFound | None

    def head(self, name: str) -> HeadResult:
        """The results of a head."""
        return next(each for each in self.heads if each.name == name)

    def to_json(self) -> dict[str, Any]:
        """All of it as ``schema.json`` describes it."""
        plain: dict[str, Any] = as_json(self)
        return plain
