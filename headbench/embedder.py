"""A frozen network as a scikit-learn transformer: images in, embeddings out."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from headbench.cache.errors import HeadbenchError
from headbench.cache.progress import Progress, showing_progress
from headbench.extract.errors import DataError, UnusableImageError
from headbench.extract.images.resizing import Resizing, resizing_of
from headbench.extract.images.stream import (
    MAX_FILE_BYTES,
    DecodedImage,
    ImageFile,
    decoded_images,
    give,
)
from headbench.extract.networks import engines
from headbench.extract.networks.backbone import Backbone, create_backbone, embed_images
from headbench.extract.settings import ExtractSettings, Runtime
from headbench.extract.sources.python import as_file
from headbench.extract.stage import choose_backbone
from headbench.extract.stopwatch import Stopwatch
from headbench.extract.workers.embed import refuse_infinite

_DEFAULT = ExtractSettings()


class Embedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Embeds images with a frozen network; put it before any classifier in a ``Pipeline``.

    Images are decoded, resized and preprocessed as `headbench.features` does: the same file gives
    the same embedding. Nothing is learnt, so `transform` needs no `fit`.

    The network is opened at the first image and kept for later calls. Clones and pickles do not
    carry it: each opens its own. For cross-validation or a grid search, embed once and search over
    the classifier alone, or give the pipeline a ``memory``.

    Parameters
    ----------
    backbone : str
        The network, such as ``resnet50``, the path of a Keras model, or ``hub:`` and a preset.
    weights : str
        ``imagenet``, ``random`` or a path.
    size : int, optional
        Height and width of the network's input, in pixels; by default that of the model, or 224.
    resize : {"crop", "squash", "letterbox", "none"}
        From an image of any size to the network's input: see `headbench.features`.
    views : {"one", "flip", "5crop"}
        Views of each image whose embeddings are averaged.
    preprocessing : str, optional
        Of a model of your own: ``caffe``, ``tf``, ``torch``, ``0-1``, ``raw`` or ``inside``.
    pooling : {"avg", "max", "cls", "cls+avg"}
        From the last feature map to the embedding; ``cls``: a transformer's class token.
    layer : str
        Layers to cut the network at, joined by commas; by default its last one.
    precision : {"auto", "float32", "bfloat16", "mixed_float16"}
        Arithmetic of the network. ``auto``: mixed_float16 on GPUs that gain from it, bfloat16 on
        processors that have it for networks that lose no accuracy by it, else float32.
    device : {"auto", "cpu", "gpu"}
        Where the network runs. ``auto``: every GPU that TensorFlow sees, else the CPU.
    engine : {"auto", "tensorflow", "openvino"}
        What runs it. ``auto``: OpenVINO on a CPU, if it is installed, else TensorFlow.
    batch_size : int, optional
        Images at once; by default what suits the device.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> model = make_pipeline(Embedder("mean-color", size=8), LogisticRegression())
    >>> dark, bright = np.zeros((9, 9, 3), np.uint8), np.full((9, 9, 3), 255, np.uint8)
    >>> model.fit([dark, bright], ["night", "day"]).predict([bright]).tolist()
    ['day']
    """

    _network: "_Network | None" = None

    def __init__(
        self,
        backbone: str = _DEFAULT.backbone,
        *,
        weights: str = _DEFAULT.weights,
        size: int | None = _DEFAULT.size_px,
        resize: str = _DEFAULT.resize,
        views: str = _DEFAULT.views,
        preprocessing: str | None = _DEFAULT.preprocessing,
        pooling: str = _DEFAULT.pooling,
        layer: str = _DEFAULT.layer,
        precision: str = _DEFAULT.precision,
        device: str = _DEFAULT.device,
        engine: str = _DEFAULT.engine,
        batch_size: int | None = _DEFAULT.batch_size,
    ) -> None:
        self.backbone = backbone
        self.weights = weights
        self.size = size
        self.resize = resize
        self.views = views
        self.preprocessing = preprocessing
        self.pooling = pooling
        self.layer = layer
        self.precision = precision
        self.device = device
        self.engine = engine
        self.batch_size = batch_size

    def fit(self, X: Sequence[Any], y: object = None) -> Self:  # noqa: ARG002, scikit-learn's
        """Check the parameters and the weights; nothing is learnt.

        Parameters
        ----------
        X : sequence
            Images; they are not looked at.
        y : ignored

        Raises
        ------
        HeadbenchError
            For a parameter out of its range, or weights that are not there.
        """
        network = _Network(self._settings())
        # Weights may have been replaced under the same name.
        if self._network is None or not self._network.gives_what(network):
            self._network = network
        return self

    @showing_progress()
    def transform(self, X: Sequence[Any]) -> NDArray[np.float32]:
        """Embed images.

        Parameters
        ----------
        X : sequence (n_images,)
            Paths, bytes of image files, PIL images, or uint8 pixels of any size, 0-255,
            (height, width, 3) RGB or (height, width).

        Returns
        -------
        float32 (n_images, dim)
            Row i is image i.

        Raises
        ------
        HeadbenchError
            If an image cannot be used: its position in `X`, counted from 0, and the reason. No
            image is left out or replaced.
        """
        network = self._opened_once()
        images = _listed(X)
        embeddings = np.empty((len(images), network.backbone.dim), np.float32)
        decoded = _decoded(images, resizing_of(network.backbone.identity))
        embedded = embed_images(network, decoded, network.settings.runtime, Stopwatch())
        with Progress("embed", len(images)) as progress:
            for rows, found in embedded:
                refuse_infinite(found, [_name(row, images) for row in rows.tolist()])
                embeddings[rows] = found
                progress.update(len(rows))
        return embeddings

    @property
    def _n_features_out(self) -> int:
        return create_backbone(
            self.backbone,
            self.weights,
            self.size,
            self.pooling,
            layer=self.layer,
            preprocessing=self.preprocessing,
        ).dim

    def _opened_once(self) -> "_Network":
        settings = self._settings()
        if self._network is None or self._network.settings != settings:
            self._network = _Network(settings)
        return self._network

    def _settings(self) -> ExtractSettings:
        return ExtractSettings(
            backbone=self.backbone,
            weights=self.weights,
            size_px=self.size,
            resize=self.resize,
            views=self.views,
            preprocessing=self.preprocessing,
            pooling=self.pooling,
            layer=self.layer,
            precision=self.precision,
            device=self.device,
            engine=self.engine,
            batch_size=self.batch_size,
        )

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in super().__getstate__().items() if key != "_network"}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.transformer_tags.preserves_dtype = []  # float32, whatever comes in
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = tags.input_tags.string = True
        return tags


@dataclass
class _Network:
    """A network that is opened once, whoever asks for it."""

    settings: ExtractSettings
    backbone: Backbone = field(init=False)
    _embedder: engines.Embedder | None = None

    def __post_init__(self) -> None:
        self.backbone = choose_backbone(self.settings)

    def gives_what(self, other: "_Network") -> bool:
        """Whether it makes the embeddings that another makes, by the same means."""
        is_same = self.backbone.identity == other.backbone.identity
        return is_same and self.settings == other.settings

    def open(
        self, runtime: Runtime, sample: NDArray[np.uint8], stopwatch: Stopwatch
    ) -> engines.Embedder:
        """The network; see `KerasNetwork.open`."""
        if self._embedder is None:
            self._embedder = self.backbone.open(runtime, sample, stopwatch)
        return self._embedder


def _listed(X: Any) -> list[Any]:
    """The images; `DataError` for one image, or for what is no sequence."""
    # One image in colour, and not grey images that are 3 px wide.
    is_array = isinstance(X, np.ndarray) and X.shape[2:] == (3,)
    if is_array or isinstance(X, str | bytes | os.PathLike | Image.Image):
        raise DataError("expected a sequence of images, found one image. Hand over [image].")
    try:
        return list(X)
    except TypeError as error:
        raise DataError(f"expected a sequence of images, found {type(X).__name__}.") from error


def _decoded(images: Sequence[Any], resizing: Resizing) -> Iterator[DecodedImage]:
    def refuse(row: int, reason: UnusableImageError) -> None:
        raise _refused(row, images, reason) from reason

    return decoded_images(_files(images), resizing, refuse, Stopwatch())


def _files(images: Sequence[Any]) -> Iterator[ImageFile]:
    """Files to decode; PIL images are read here, since several threads cannot share one."""
    for row, image in enumerate(images):
        if isinstance(image, str | os.PathLike):
            yield ImageFile(Path(image))
            continue
        try:
            data = as_file(image, MAX_FILE_BYTES)
        except (DataError, UnusableImageError) as error:
            raise _refused(row, images, error) from error
        yield ImageFile(_name(row, images), None, partial(give, data))


def _refused(row: int, images: Sequence[Any], reason: HeadbenchError) -> DataError:
    advice = ""
    if isinstance(reason, UnusableImageError):
        advice = ". Leave it and its label out: every image has to give one row."
    return DataError(f"{_name(row, images)}: {reason}{advice}")


def _name(row: int, images: Sequence[Any]) -> str:
    """The position of an image, and its path if it has one."""
    image = images[row]
    return f"X[{row}] ({str(image)!r})" if isinstance(image, str | os.PathLike) else f"X[{row}]"
