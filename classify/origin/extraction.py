"""Four embeddings of every image: right or wrong pixels, moving or batch statistics."""

import time
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from classify.origin.images import Images
from extract.batch_statistics import batch_norms, batch_statistics
from extract.errors import UnusableImageError
from extract.keras_backbone import KerasBackbone
from extract.keras_runtime import load_tensorflow
from extract.progress import Progress
from extract.scalings import SCALINGS, Scaling, taken_by
from extract.stopwatch import Stopwatch
from extract.stream import decoded_images, in_batches

MOVING, BATCH = STATISTICS = ("moving", "batch")
WRONG = SCALINGS["/255"]


class Variant(NamedTuple):
    """One way to make embeddings.

    Attributes
    ----------
    preprocessing : str
        Name of the scaling of pixels.
    statistics : {"moving", "batch"}
        What BatchNormalization normalises by: ``moving`` in inference, ``batch`` in training.
    """

    preprocessing: str
    statistics: str


class Extraction(NamedTuple):
    """All four embeddings of every image of train and val.

    Attributes
    ----------
    images : Images
        Those that could be decoded.
    embeddings : dict of Variant to float32 (n_images, dim)
        Rows as in the table of `images`; zeros for test, which is not looked at.
    seconds : dict of Variant to float
        In the network.
    """

    images: Images
    embeddings: dict[Variant, NDArray[np.float32]]
    seconds: dict[Variant, float]


def scalings_of(backbone: KerasBackbone) -> tuple[Scaling, Scaling]:
    """The scaling that a network takes, and the origin's."""
    return taken_by(backbone.facts.preprocessing), WRONG


def extract_variants(
    backbone: KerasBackbone, base: Any, images: Images, batch_size: int, seed: int
) -> Extraction:
    """Decode each file once, and embed each batch in four ways.

    Memory holds four embeddings an image, 32 kB at 2 048 columns, and the pixels of one batch.

    Parameters
    ----------
    backbone : KerasBackbone
    base : keras.Model
        Its network without preprocessing; not changed.
    images : Images
    batch_size : int
        Images side by side, drawn at random from one split, as in training. With batch statistics
        an embedding depends on them: of each image it is one draw of what an epoch sees.
    seed : int
        Of that draw.

    Raises
    ------
    DataError
        If too many images cannot be decoded.
    """
    functions = _functions(base, backbone.size_px)
    scalings = scalings_of(backbone)
    variants = [Variant(*each) for each in product((it.name for it in scalings), STATISTICS)]
    shape = (len(images.labels), backbone.dim)
    embeddings = {each: np.zeros(shape, dtype=np.float32) for each in variants}
    seconds = dict.fromkeys(variants, 0.0)
    rejected: dict[bytes, str] = {}
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(images.rows(split)) for split in ("train", "val")]
    with Progress("four extractions", sum(map(len, orders))) as progress:
        for order in orders:
            for rows, pixels in _batches(images, order, backbone.size_px, batch_size, rejected):
                for scaling in scalings:
                    scaled = scaling(pixels)
                    for statistics in STATISTICS:
                        variant, started = Variant(scaling.name, statistics), time.perf_counter()
                        embeddings[variant][rows] = functions[statistics](scaled)
                        seconds[variant] += time.perf_counter() - started
                progress.update(len(rows))
    if not rejected:
        return Extraction(images, embeddings, seconds)
    is_kept = np.array([content not in rejected for content in images.table.contents()])
    kept = {variant: each[is_kept] for variant, each in embeddings.items()}
    return Extraction(images.without(rejected), kept, seconds)


def _batches(
    images: Images,
    order: NDArray[np.intp],
    size_px: int,
    batch_size: int,
    rejected: dict[bytes, str],
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.uint8]]]:
    """Rows of the table and their pixels; what cannot be decoded is noted and left out."""
    files = images.files(order)

    def reject(row: int, reason: UnusableImageError) -> None:
        rejected[files[row].content_sha256 or b""] = str(reason)

    for rows, pixels in in_batches(decoded_images(files, size_px, reject, Stopwatch()), batch_size):
        yield order[rows], pixels


Embed = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def _functions(base: Any, size_px: int) -> dict[str, Embed]:
    """What embeds scaled pixels, by what BatchNormalization normalises by."""
    base.trainable = False
    moving = _traced(base, size_px)
    with batch_statistics(batch_norms(base)):
        batch = _traced(base, size_px)
    return {MOVING: moving, BATCH: batch}


def _traced(base: Any, size_px: int) -> Embed:
    tf = load_tensorflow()
    variables = (base.trainable_variables, base.non_trainable_variables)
    weights = [[each.numpy() for each in some] for some in variables]

    # Stateless: what BatchNormalization notes of a batch is thrown away, so that whatever is
    # embedded next is embedded by the network as it was loaded.
    def embed(pixels: Any) -> Any:
        return base.stateless_call(*weights, pixels, training=False)[0]

    pixels = tf.TensorSpec((None, size_px, size_px, 3), tf.float32)
    graph = tf.function(embed).get_concrete_function(pixels)
    return lambda scaled: np.asarray(graph(tf.constant(scaled)))
