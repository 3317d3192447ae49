"""What is exported: one network from pixels to probabilities, and facts about it."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.cache.reader import FeatureFile
from headbench.cache.writer import installed_version
from headbench.classify.deployment.classifier import FinetunedNetwork
from headbench.classify.errors import RunError
from headbench.classify.heads.boosting import LightGBM
from headbench.classify.heads.head import Head
from headbench.classify.heads.keras_head import composable, keras_head, require_composable
from headbench.classify.heads.registry import load_trained_head
from headbench.classify.metrics import accuracy
from headbench.classify.run import NETWORK_FILE, Trained, is_finetuned
from headbench.extract.images.resizing import Resizing, resizing_of
from headbench.extract.networks.backbone import reopen_backbone
from headbench.extract.networks.keras_network import KerasNetwork
from headbench.extract.networks.keras_runtime import load_keras
from headbench.extract.settings import BFLOAT16, FLOAT32

PROBABILITIES, EMBEDDINGS = "probabilities", "embeddings"
# From uint8 (1, size_px, size_px, 3) to float32 (1, n_classes), in one thread.
Call = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True)
class Exportable:
    """A network and the facts that go into every file with it.

    Attributes
    ----------
    name : str
        Of the head or the fine-tuned network.
    network : keras.Model
        Takes uint8 (n, size_px, size_px, 3), RGB, 0-255; gives float32 (n, n_classes)
        probabilities, or the inputs of `trees`.
    classes : tuple of str
        The columns of the probabilities.
    provenance : dict
        What it was made from and its accuracy, JSON-ready.
    resizing : Resizing
        From an image of any size to what the network takes.
    trees : LightGBM or None
        The head, if it is not part of the network.
    calibration : callable
        Gives images of train, uint8 (size_px, size_px, 3), decoded anew each time: the ranges of
        their activations become those of int8. None by default.
    """

    name: str
    network: Any
    classes: tuple[str, ...]
    provenance: dict[str, Any]
    resizing: Resizing
    trees: LightGBM | None = None
    calibration: Callable[[], Iterator[NDArray[np.uint8]]] = lambda: iter(())

    @property
    def facts(self) -> dict[str, Any]:
        """What every format contains, JSON-ready."""
        return {"classes": self.classes, "provenance": self.provenance}

    @property
    def output(self) -> str:
        """Name of what the network gives."""
        return PROBABILITIES if self.trees is None else EMBEDDINGS

    @property
    def size_px(self) -> int:
        """Height and width of the images."""
        return self.resizing.size_px


def check_exportable(trained: Trained) -> Head | None:
    """The head to export, or None for a fine-tuned network.

    Raises `RunError` for a head that can be exported neither as Keras layers nor as a folder.
    """
    if is_finetuned(trained.record.name):
        return None
    head = load_trained_head(trained)
    if not isinstance(head, LightGBM):
        try:
            require_composable(head)
        except RunError as error:
            raise RunError(
                f"{trained.record.name} cannot be exported: expected {composable()}, a fine-tuned "
                "network, or lightgbm (as a folder). Name another with --head."
            ) from error
    return head


def build_exportable(trained: Trained, features: FeatureFile, weights: str) -> Exportable:
    """Join network and head; a fine-tuned network does not need the `weights` of the backbone."""
    head, name, classes = check_exportable(trained), trained.record.name, features.classes
    provenance, resizing = _provenance(trained, features), resizing_of(features.identity)
    if head is None:
        network = FinetunedNetwork(name, trained.folder / NETWORK_FILE).folded_network()
        return Exportable(name, network, classes, provenance, resizing)
    backbone = reopen_backbone(features.identity, weights)
    if not isinstance(backbone, KerasNetwork):
        raise RunError(
            f"{features.identity.backbone} has no network to export. Extract with one: headbench "
            "features DATA --backbone resnet50."
        )
    # No format has bfloat16 everywhere; float32 is what it rounds.
    is_rounded = features.identity.precision == BFLOAT16
    network = backbone.folded_network(policy=FLOAT32 if is_rounded else None)
    if isinstance(head, LightGBM):
        scores = _with_scores(network, head)
        return Exportable(name, scores, classes, provenance, resizing, head)
    composed = load_keras().Model(network.input, keras_head(head, len(classes))(network.output))
    return Exportable(name, composed, classes, provenance, resizing)


def seen_by(trees: LightGBM, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """The inputs of the trees, float32 (n_images, n_columns)."""
    return embeddings if trees.scores_ is None else trees.scores_(embeddings)


def _with_scores(network: Any, head: LightGBM) -> Any:
    if head.scores_ is None:
        return network
    keras = load_keras()
    dense = keras.layers.Dense(len(head.scores_.bias), dtype="float32", name="scores")
    scores = dense(network.output)
    dense.set_weights([head.scores_.kernel, head.scores_.bias])
    return keras.Model(network.input, scores)


def _provenance(trained: Trained, features: FeatureFile) -> dict[str, Any]:
    record, identity = trained.record, features.identity
    return {
        "made_by": f"headbench {installed_version('headbench')}",
        "head": record.name,
        "chosen": record.chosen,
        "settings": record.settings,
        "data": Path(features.config.data["folder"]).name,
        "features": {"fingerprint": identity.fingerprint, **asdict(identity)},
        **{
            split: {"top_1": accuracy(features.labels(split), proba)._asdict()}
            for split, proba in (("val", trained.val), ("test", trained.test))
        },
    }
