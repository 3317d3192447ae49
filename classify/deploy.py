"""Classes and probabilities for new image files, with a trained head or the fine-tuned network."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cache.fingerprint import Identity
from cache.reader import FeatureFile
from classify.errors import RunError, loading
from classify.heads.registry import load_head
from classify.run import NETWORK_FILE, Run, Trained, is_finetuned, rank
from classify.train import class_proba
from classify.wording import describe_weights
from extract.backbones import embed_images, reopen_backbone
from extract.dataset import image_files
from extract.embedder import Embedded, EngineEmbedder
from extract.engines import tensorflow_engine
from extract.errors import UnusableImageError
from extract.keras_runtime import load_keras
from extract.settings import Runtime
from extract.stopwatch import Stopwatch
from extract.stream import DecodedImage, ImageFile, decoded_images, in_batches


class Prediction(NamedTuple):
    """What is seen in one file.

    Attributes
    ----------
    path : Path
    top : tuple of (str, float)
        Class names and probabilities, the most probable first; empty if the file cannot be used.
    reason : str or None
        Why it cannot be used.
    """

    path: Path
    top: tuple[tuple[str, float], ...]
    reason: str | None


def predict_files(
    run: Run,
    images: Sequence[Path],
    head: str | None,
    weights: str | None,
    n_top: int,
    say: Callable[[str], None],
    runtime: Runtime = Runtime(),  # noqa: B008, it is frozen
) -> list[Prediction]:
    """Classify image files.

    Parameters
    ----------
    run : Run
    images : sequence of Path
        Files, and folders whose image files are taken at any depth.
    head : str or None
        A trained head or ``finetuned``; None for the best on val.
    weights : str or None
        The backbone's weights; None for those that the features were made with.
    n_top : int
        Classes given for each file.
    say : callable
        Told what happens, a line at a time.
    runtime : Runtime
        How the network is run.

    Returns
    -------
    list of Prediction
        One for each file, in the order given.

    Raises
    ------
    RunError, WeightsError, FeatureFileError
    """
    paths = list(_expand(images))
    with FeatureFile(run.features_path) as features:
        y_val = features.labels("val")
        trained = run.find(head, features) if head else rank(run.trained(features), y_val)[0]
        config = features.config
    weights = weights or config.weights
    say(f"head {trained.record.name}, weights {describe_weights(config.identity, weights)}")
    predictions: dict[int, Prediction] = {}

    def leave_out(row: int, reason: UnusableImageError) -> None:
        predictions[row] = Prediction(paths[row], (), str(reason))

    files = (ImageFile(path) for path in paths)
    decoded = decoded_images(files, config.identity.size_px, leave_out, Stopwatch())
    for rows, probas in _classify(trained, config.identity, weights, decoded, runtime, say):
        for row, proba in zip(rows, probas, strict=True):
            top = _top(proba, trained.record.classes, n_top)
            predictions[int(row)] = Prediction(paths[row], top, None)
    return [predictions[row] for row in range(len(paths))]


def _expand(images: Sequence[Path]) -> Iterator[Path]:
    for path in images:
        if not path.is_dir():
            # A missing file is not an error of the whole call: it is reported like a damaged one.
            yield path
            continue
        found = list(image_files(path))
        if not found:
            raise RunError(f"{path}: expected image files in this folder, found none.")
        yield from found


def _classify(
    trained: Trained,
    identity: Identity,
    weights: str,
    images: Iterator[DecodedImage],
    runtime: Runtime,
    say: Callable[[str], None],
) -> Iterator[Embedded]:
    """Rows and float32 (n, n_classes) probabilities of each batch."""
    if is_finetuned(trained.record.name):
        path = trained.folder / NETWORK_FILE
        with loading(path):
            # safe_mode: a layer that would run code from the file is refused.
            network = load_keras().saving.load_model(path, safe_mode=True)
        engine = tensorflow_engine(lambda: network)
        embedder = EngineEmbedder(engine, engine.batch_size, Stopwatch())
        yield from embedder(in_batches(images, embedder.batch_size))
        return
    head = load_head(trained.folder)
    backbone = reopen_backbone(identity, weights)
    for rows, embeddings in embed_images(backbone, images, runtime, Stopwatch(), say):
        yield Embedded(rows, class_proba(head, embeddings, len(trained.record.classes)))


def _top(
    proba: NDArray[np.float32], classes: Sequence[str], n_top: int
) -> tuple[tuple[str, float], ...]:
    order = np.argsort(-proba, kind="stable")[:n_top]
    return tuple((classes[label], float(proba[label])) for label in order)
