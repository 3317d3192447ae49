"""What a user may choose of the origin's failure."""

from dataclasses import dataclass

from headbench.extract.settings import FLOAT32, IMAGENET, ExtractSettings


@dataclass(frozen=True)
class OriginSettings:
    """Settings of ``headbench origin``; the command line takes its defaults from here."""

    # A network with BatchNormalization.
    backbone: str = "resnet50"
    # ``imagenet``, ``random`` or a path.
    weights: str = IMAGENET
    size_px: int = 256
    # Of the split into train, val and test, of the batches, and of the weights of new layers.
    seed: int = 0
    # Fitted to each of the four extractions.
    head: str = "logreg"
    # Of the origin's own model.
    epochs: int = 5
    # The images that batch statistics are computed on.
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
