"""Settings of stage three, fine-tuning."""

from collections.abc import Callable
from dataclasses import dataclass

from headbench.classify.errors import RunError
from headbench.classify.run import FINETUNED
from headbench.extract.settings import AUTO

DEFAULT_UNFREEZE = "block5"
COSINE, CONSTANT = SCHEDULES = ("cosine", "constant")

Range = tuple[str, Callable[[float], bool]]
POSITIVE: Range = ("a number above 0", lambda value: 0 < value < float("inf"))
SHARE: Range = ("a number of at least 0 and below 1", lambda value: 0 <= value < 1)
RANGES: dict[str, Range] = {
    "learning_rate": POSITIVE,
    "depth_decay": ("a number above 0 and at most 1", lambda value: 0 < value <= 1),
    "label_smoothing": SHARE,
    "warmup": SHARE,
    "weight_decay": ("a number of at least 0", lambda value: 0 <= value < float("inf")),
}


@dataclass(frozen=True)
class FinetuneSettings:
    """Settings of fine-tuning; the command line takes its defaults from here.

    Attributes
    ----------
    unfreeze : str
        ``block5``: the last block of the network; ``block4``: the last two; ``half``: the second
        half of its layers; ``all``; or the name of a layer: that one and all after it.
    start : str
        The trained head to start from.
    is_fresh : bool
        Use the layers of that head with new weights.
    epochs : int
        Epochs (passes over train), at most.
    patience : int
        Training stops after so many epochs without a smaller calibrated log loss on val.
    learning_rate : float
        Highest learning rate of Adam, that of the head.
    depth_decay : float
        The last block learns at this times the head's rate, each earlier block at this times the
        rate of the block after it.
    schedule : {"cosine", "constant"}
        ``cosine``: the learning rate rises from 0 during `warmup`, then falls to 0 along a cosine.
    warmup : float
        Share of all steps, 0 to below 1.
    batch_size : int
        Images in a step.
    label_smoothing : float
        Share of each label that is spread over all classes.
    weight_decay : float
        Decoupled weight decay of kernels: each step multiplies them by 1 minus this times the
        learning rate.
    augment : bool
        Crop, mirror and recolour the images of train at random.
    copies : int
        Augmented copies of each image whose activations are kept: each epoch takes the next one.
    cache_trunk : bool
        Keep the activations of the frozen part on disk, and run only the layers after it. Without,
        each epoch augments anew.
    precision : {"auto", "float32", "mixed_float16"}
        ``auto``: mixed_float16 on GPUs that gain from it.
    seed : int
        Seed of the order of images, of augmentation and of Dropout.
    """

    unfreeze: str = DEFAULT_UNFREEZE
    start: str = "logreg"
    is_fresh: bool = False
    epochs: int = 12
    patience: int = 6
    learning_rate: float = 4e-4
    depth_decay: float = 0.5
    schedule: str = COSINE
    warmup: float = 0.1
    batch_size: int = 32
    label_smoothing: float = 0.0
    weight_decay: float = 0.0
    augment: bool = True
    copies: int = 6
    cache_trunk: bool = True
    precision: str = AUTO
    seed: int = 0

    def check(self) -> None:
        """Raise `RunError` for a value out of its range."""
        for name, (expected, holds) in RANGES.items():
            value = getattr(self, name)
            if not holds(value):
                option = name.replace("_", "-")
                raise RunError(f"--{option}: expected {expected}, found {value}.")

    @property
    def name(self) -> str:
        """Name of the network and of its folder; each way of unfreezing has its own."""
        parts = [FINETUNED]
        if self.unfreeze != DEFAULT_UNFREEZE:
            parts.append(self.unfreeze)
        if not self.augment:
            parts.append("plain")
        return "-".join(parts)
