"""From decoded images to probabilities, for every head and for fine-tuned networks."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.cache.format import Identity
from headbench.cache.reader import FeatureFile
from headbench.cache.untrusted import open_regular
from headbench.classify.checked import check_proba
from headbench.classify.errors import loading
from headbench.classify.heads.head import Head
from headbench.classify.heads.registry import load_trained_head
from headbench.classify.metrics import balanced_accuracy, class_scores
from headbench.classify.run import NETWORK_FILE, Run, Trained, is_finetuned, rank
from headbench.classify.train_heads import class_proba
from headbench.classify.wording import describe_weights, percent, share
from headbench.extract.images.resizing import Resizing, resizing_of
from headbench.extract.images.stream import DecodedImage
from headbench.extract.networks.backbone import Openable, embed_images, reopen_backbone
from headbench.extract.networks.converted import key_of
from headbench.extract.networks.engines import Embedded, Embedder
from headbench.extract.networks.folding import fold_base
from headbench.extract.networks.keras_network import ENGINE_TOLERANCE, OpenableNetwork, open_network
from headbench.extract.networks.keras_runtime import load_saved
from headbench.extract.settings import FLOAT32, Runtime
from headbench.extract.stopwatch import Stopwatch

LOG = logging.getLogger(__name__)

# Standard deviations that are more than chance, whatever the interval.
FAR = 4


@dataclass(frozen=True)
class Classifier:
    """A trained head or fine-tuned network, and the network that it needs; not loaded yet.

    Attributes
    ----------
    name : str
        Name of the head or the fine-tuned network.
    classes : tuple of str
        Columns of the probabilities.
    identity : Identity
        Identity of the embeddings that it was trained on.
    weights : str
        The network's weights, in words.
    network : Openable
        Gives embeddings for the head; a fine-tuned network gives probabilities.
    head : Head or None
        None for a fine-tuned network, which contains its own.
    """

    name: str
    classes: tuple[str, ...]
    identity: Identity
    weights: str
    network: Openable
    head: Head | None

    @property
    def resizing(self) -> Resizing:
        """From an image of any size to what the network takes; may raise `DataError`."""
        return resizing_of(self.identity)

    def proba(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities, float32 (n, n_classes), from the outputs of the network.

        Raises `RunError` if a head gives anything else: even finite weights can overflow.
        """
        proba = outputs
        if self.head is not None:
            proba = class_proba(self.head, outputs, len(self.classes))
        with loading(Path(self.name)):
            check_proba(proba)
        return proba

    def classify(
        self, images: Iterator[DecodedImage], runtime: Runtime, stopwatch: Stopwatch
    ) -> Iterator[Embedded]:
        """Rows and probabilities, batch by batch and in order; see `embed_images`."""
        for rows, outputs in embed_images(self.network, images, runtime, stopwatch):
            yield Embedded(rows, self.proba(outputs))


@dataclass(frozen=True)
class FinetunedNetwork:
    """A fine-tuned network on disk, opened as a backbone is."""

    name: str
    path: Path

    def open(self, runtime: Runtime, sample: NDArray[np.uint8], stopwatch: Stopwatch) -> Embedder:
        """Load it; it gives probabilities. See `KerasNetwork.open`."""
        # A softmax amplifies rounding errors.
        load, fold = self._load, self._fold
        network = OpenableNetwork(self.name, self._key(), load, fold, FLOAT32, ENGINE_TOLERANCE)
        return open_network(network, runtime, sample, stopwatch)

    def folded_network(self, untouched: Any = None) -> Any:
        """The network without BatchNormalization to compute, for inference only: `fold_base`."""
        return fold_base(untouched or self._load())

    def _fold(self, untouched: Any, _: str) -> Any:
        return self.folded_network(untouched)

    def _key(self) -> str:
        """Its file decides all that it does."""
        with loading(self.path), open_regular(self.path) as file:
            return key_of(f"finetuned {hashlib.file_digest(file, 'sha256').hexdigest()}")

    def _load(self) -> Any:
        with loading(self.path):
            network = load_saved(self.path, compile=False)
        network.trainable = False
        return network


def open_classifier(run: Run, name: str | None, weights: str | None) -> Classifier:
    """Choose a head or a fine-tuned network, and check that its network has the same weights.

    Parameters
    ----------
    name : str or None
        A trained head or a fine-tuned network; None for the best on val.
    weights : str or None
        The backbone's weights; None for those that the features were made with.

    Raises
    ------
    RunError, WeightsError, FeatureFileError
    """
    with FeatureFile(run.features_path) as features:
        y_val = features.labels("val")
        trained = run.find(name, features) if name else rank(run.trained(features), y_val)[0]
        if not name:
            say_if_not_recommended(trained, y_val)
        config = features.config
    chosen, weights = trained.record.name, weights or config.weights
    described = describe_weights(config.identity, weights)
    LOG.info(f"head {chosen}, weights {described}")
    build = partial(Classifier, chosen, trained.record.classes, config.identity, described)
    if is_finetuned(chosen):
        return build(FinetunedNetwork(chosen, trained.folder / NETWORK_FILE), None)
    return build(reopen_backbone(config.identity, weights), load_trained_head(trained))


def say_if_not_recommended(chosen: Trained, y_val: NDArray[np.int32]) -> None:
    """Log that a head, which nobody named, may be no better than `prior` on val."""
    counts = np.bincount(y_val)
    n_there, largest_sd = np.count_nonzero(counts), np.sqrt((1 / counts[counts > 0]).sum()) / 2
    prior = 1 / n_there
    # The interval takes seconds for many images. Most heads are far better than that.
    if balanced_accuracy(y_val, chosen.val) > prior + FAR * largest_sd / n_there:
        return
    _, balanced = class_scores(y_val, chosen.val)
    if balanced.low <= prior:
        LOG.info(
            f"{chosen.record.name} is not recommended: on val it is not clearly better than prior, "
            f"which always predicts one class. Its balanced accuracy is {percent(balanced)}, n = "
            f"{balanced.n}; that of prior is {share(prior)}. 'make doctor' searches for the cause."
        )
