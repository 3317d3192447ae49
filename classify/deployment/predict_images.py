"""`headbench predict`: classes of the images that somebody names, and how many are correct."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from headbench.cache.progress import Progress
from headbench.cache.reader import FeatureFile
from headbench.classify.deployment import FALSE_ALARMS, N_TOP
from headbench.classify.deployment.classifier import open_classifier
from headbench.classify.deployment.labelled import Scores, seen_files, true_classes
from headbench.classify.deployment.named_images import name_images
from headbench.classify.deployment.prediction import Prediction, predict_files
from headbench.classify.deployment.stored_embeddings import StoredEmbeddings
from headbench.classify.deployment.uncertainty import open_uncertainty
from headbench.classify.looks_at_test import count_look
from headbench.classify.metrics import TOP_K
from headbench.classify.run import Run
from headbench.classify.wording import count
from headbench.extract.settings import Runtime

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class PredictSettings:
    """What to predict with, and what to write.

    Attributes
    ----------
    head : str or None
        A trained head or a fine-tuned network; None for the best on val.
    weights : str or None
        The network's weights, if they were moved.
    n_top : int
        Classes for each image.
    min_confidence : float
        No answer is given if the top probability, 0 to 1, is below this.
    coverage : float or None
        Of prediction sets, between 0 and 1; None for no sets.
    false_alarms : float
        Share of images like those of val that may be reported as of none of the classes, 0 to 1.
    explain : Path or None
        A page of what spoke for the classes.
    parquet : Path or None
        A file for the probabilities of all classes.
    is_null_separated : bool
        Paths on standard input end with NUL.
    """

    head: str | None = None
    weights: str | None = None
    n_top: int = N_TOP
    min_confidence: float = 0.0
    coverage: float | None = None
    false_alarms: float = FALSE_ALARMS
    explain: Path | None = None
    parquet: Path | None = None
    is_null_separated: bool = False


class NamedPredictions:
    """Predictions, made while they are taken; at the end a line says how many are correct.

    Parameters
    ----------
    named : sequence of str
        Files, folders, patterns and runs: see `name_images`, also for `run_of`.

    Attributes
    ----------
    classes : tuple of str
    paths : list of Path
        A prediction for each, in this order.
    is_labelled : bool
        Whether true classes are known.
    n_unusable : int
        Files so far that cannot be used.

    Raises
    ------
    RunError, WeightsError, DeviceError, FeatureFileError
    """

    def __init__(
        self,
        run: Run,
        named: Sequence[str],
        run_of: Callable[[str], Path | None],
        settings: PredictSettings,
        runtime: Runtime,
    ) -> None:
        self._run, self._settings, self._runtime = run, settings, runtime
        self._classifier = open_classifier(run, settings.head, settings.weights)
        self._images = name_images(named, run_of, settings.is_null_separated)
        self.classes, self.paths = self._classifier.classes, self._images.paths
        self._truth = true_classes(named, self.classes)
        self._scores = Scores(self.classes, self._seen(), settings.min_confidence)

    @property
    def is_labelled(self) -> bool:
        """Whether true classes are known."""
        return bool(self._truth)

    @property
    def n_unusable(self) -> int:
        """Files so far that cannot be used."""
        return self._scores.n_unusable

    def __iter__(self) -> Iterator[Prediction]:
        n_top = self._settings.n_top
        with Progress("predict", len(self.paths)) as progress:
            for each in self._scores.count(self._written(self._predictions())):
                if each.reason is None:
                    progress.update()
                else:
                    progress.reject()
                yield each._replace(top=each.top[:n_top])
        for line in self._scores.lines():
            LOG.info(line)
        self._count_look()

    def _seen(self) -> dict[Path, str]:
        if not self._truth:
            return {}
        with FeatureFile(self._run.features_path) as features:
            return seen_files(features, list(self._truth))

    def _predictions(self) -> Iterator[Prediction]:
        asked, classifier = self._settings, self._classifier
        doubts = open_uncertainty(self._run, classifier.name, asked.coverage, asked.false_alarms)
        for line in doubts.lines():
            LOG.info(line)
        stores = [self._run.features_path, *self._images.stores] if classifier.head else ()
        return predict_files(
            classifier,
            self.paths,
            # The accuracy among five classes is counted, however many are shown.
            len(self.classes) if asked.parquet else max(asked.n_top, TOP_K),
            self._runtime,
            self._truth,
            asked.min_confidence,
            doubts,
            StoredEmbeddings(classifier.identity, stores),
            self._images.contents,
        )

    def _written(self, predictions: Iterator[Prediction]) -> Iterator[Prediction]:
        """Predictions, which are written to files while they pass by."""
        if self._settings.explain is not None:
            from headbench.classify.deployment.explained_files import explained

            page = self._settings.explain
            predictions = explained(predictions, self._classifier, self._runtime, page)
        if self._settings.parquet is not None:
            from headbench.classify.deployment.prediction_table import into_parquet

            seen = self._scores.seen
            predictions = into_parquet(predictions, self._settings.parquet, self.classes, seen)
        return predictions

    def _count_look(self) -> None:
        n_test = self._scores.n_test
        if not n_test:
            return
        with FeatureFile(self._run.features_path) as features:
            measured = [self._run.find(self._classifier.name, features)]
            looks = count_look(self._run.folder, features, measured)
        LOG.info(f"{count(n_test, 'image')} of test measured. {looks.describe()}")
