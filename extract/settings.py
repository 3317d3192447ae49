"""What a user may choose of stage one."""

from dataclasses import dataclass

from cache.format import STORES
from extract.weights import IMAGENET


@dataclass(frozen=True)
class ExtractSettings:
    """Settings of an extraction; the command line takes its defaults from here.

    Attributes
    ----------
    backbone : str
    weights : str
        ``imagenet``, ``random`` or a path.
    size_px : int
        Height and width of the network's input.
    seed : int
        Of the split.
    batch_size : int
        Images pushed through the network at once; changes nothing but speed and memory.
    store : str
        ``float32`` or ``float16``: how the embeddings are kept.
    overwrite : bool
        Replace a feature file that was made with other settings.
    """

    backbone: str = "resnet50"
    weights: str = IMAGENET
    size_px: int = 224
    seed: int = 0
    batch_size: int = 32
    store: str = STORES[0]
    overwrite: bool = False
