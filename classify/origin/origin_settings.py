"""What a user may choose of the demonstration; the defaults are the origin's own."""

from dataclasses import dataclass

from extract.settings import FLOAT32, ExtractSettings
from extract.weights import IMAGENET

# What the origin took of each class for validation, and how its Adam moved.
VALIDATION_SPLIT = 0.2
LEARNING_RATE = 0.001


@dataclass(frozen=True)
class OriginSettings:
    """Settings of ``make origin``; the command line takes its defaults from here.

    Attributes
    ----------
    backbone : str
        A network with BatchNormalization.
    weights : str
        ``imagenet``, ``random`` or a path.
    size_px : int
        Height and width of the network's input.
    seed : int
        Of the split into train, val and test, of the batches, and of the weights of new layers.
    head : str
        The one that is fitted to each of the four extractions.
    epochs : int
        Of the origin's own model.
    batch_size : int
        What BatchNormalization takes its statistics of.
    """

    backbone: str = "resnet50"
    weights: str = IMAGENET
    size_px: int = 256
    seed: int = 0
    head: str = "logreg"
    epochs: int = 5
    batch_size: int = 32

    def extraction(self) -> ExtractSettings:
        """The same for stage one, which splits the images."""
        return ExtractSettings(
            backbone=self.backbone,
            weights=self.weights,
            size_px=self.size_px,
            seed=self.seed,
            precision=FLOAT32,
        )
