"""The results of a run as one structure: what every form of the report is made from.

``results.json`` holds it. ``schema.json`` beside this file describes it and is made from these
classes. To change it: add 1 to `SCHEMA_VERSION`, run ``python -m tests.classify.report.schema``,
and say so in CHANGELOG.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from headbench.cache.format import Identity
from headbench.classify.inspection.mistakes import Bins, ConfusedPair
from headbench.classify.intervals import Estimate
from headbench.classify.metrics import ClassMetrics, Metrics
from headbench.classify.studies.folds import FoldPoint
from headbench.classify.studies.learning_curve import CurvePoint

SCHEMA_VERSION = 3


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
        Seconds per image: from embeddings in memory, many at a time; of finetuned from image files.
    seed : int
        Of the fit.
    chosen : mapping
        What val chose.
    settings : mapping
        What the user set, and the defaults.
    history : mapping
        Curves of the fit. train_loss, train_top1, train_top5 by epoch, from 1 on; val_log_loss,
        val_top1, val_top5 by epoch (of finetuned from epoch 0 on, before any training);
        val_log_loss and train_log_loss by round; val_log_loss by C, alpha or neighbors, which stand
        beside it.
    calibration : mapping
        temperature, and on val before and after it log_loss and ece; empty where none was fitted.
    is_refit : bool
        Fitted again on train and val together, with what val chose. The numbers on val are from
        before that.
    n_bytes : int
        Size of the saved model on disk.
    classes : list
        By class, in the order of features.classes, on test.
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
class Difference:
    """Two heads on the same test images.

    Attributes
    ----------
    first : str
        The one with the better balanced accuracy on val.
    difference : Estimate
        Top-1 of the first minus that of the second; paired bootstrap interval.
    only_first, only_second : int
        Images that only this head classified correctly.
    p : float
        McNemar's exact test.
    p_holm : float
        The same, corrected for the number of pairs by Holm's method.
    is_seen : bool
        p_holm is below 0.05.
    """

    first: str
    second: str
    difference: Estimate
    only_first: int
    only_second: int
    p: float
    p_holm: float
    is_seen: bool

    def of(self, head: str) -> Estimate:
        """Top-1 of one of the two minus that of the other."""
        gap = self.difference
        return gap if head == self.first else Estimate(-gap.value, -gap.high, -gap.low, gap.n)


@dataclass(frozen=True)
class Calibration:
    """How far the probabilities of the head that is shown can be believed, on test.

    Attributes
    ----------
    temperature : float or None
        Fitted on val.
    before : Bins or None
        Without the temperature; null where none was fitted.
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
        From 0 on.
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
        All of them.
    n_exact : int
        Those with the same bytes.
    threshold : float or None
        Least similarity of near-duplicates; null where only exact copies were searched for.
    pairs : list
        The most similar, at most 200.
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
        Of its label.
    looks_like : str
        The most probable class.
    its_probability : float
        Of that class.
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
        Whose probabilities were used.
    n_looked_at : int
        Images that this head had not been fitted on.
    n_suspects : int
        All of them.
    images : list
        The most suspicious first, at most 200.
    """

    head: str
    n_looked_at: int
    n_suspects: int
    images: Sequence[Suspect]


@dataclass(frozen=True)
class Results:
    """What ``make report`` measured: all on val, then once on test.

    Attributes
    ----------
    name : str
        Of the run.
    created : str
        ISO 8601, UTC.
    versions : mapping
        Of Python and of libraries.
    commands : list
        Command lines that made the run, in the order of its stages.
    best : str
        The head with the best balanced accuracy on val: the first of heads.
    heads : list
        The best balanced accuracy on val first.
    comparisons : list
        Every pair of heads.
    learning_curve : list
        Heads on shares of train, measured on val; empty without CURVE=1.
    folds : list
        Cross-validation on train and val; empty without FOLDS.
    shown : str
        The head that everything below looks at.
    confusions : list
        The most confused pairs of classes on test, at most 20, the largest first.
    suspects : SuspectsFound or None
        Null where cleanlab is not installed.
    """

    schema_version: int
    name: str
    created: str
    versions: Mapping[str, str | None]
    commands: Sequence[str]
    features: Features
    best: str
    heads: Sequence[HeadResult]
    comparisons: Sequence[Difference]
    learning_curve: Sequence[CurvePoint]
    folds: Sequence[FoldPoint]
    shown: str
    confusions: Sequence[ConfusedPair]
    reliability: Calibration
    duplicates: DuplicatesFound
    suspects: SuspectsFound | None

    def head(self, name: str) -> HeadResult:
        """The results of a head."""
        return next(each for each in self.heads if each.name == name)

    def to_json(self) -> dict[str, Any]:
        """All of it as ``schema.json`` describes it."""
        plain: dict[str, Any] = as_json(self)
        return plain


def as_json(value: Any) -> Any:
    """Dataclasses and named tuples as dicts, whatever is in them; the ``_`` of ``class_`` goes."""
    names = json_fields(type(value))
    if names:
        return {name.rstrip("_"): as_json(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(name): as_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(each) for each in value]
    return value


def json_fields(kind: type) -> tuple[str, ...]:
    """Names of the fields of a dataclass or a named tuple; empty for other types."""
    if is_dataclass(kind):
        return tuple(field.name for field in fields(kind))
    return tuple(getattr(kind, "_fields", ()))
