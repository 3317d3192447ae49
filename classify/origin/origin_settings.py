"""Settings of ``headbench origin``."""

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
    # For the split into train, val and test, the batches, and the weights of new layers.
    seed: int = 0
    # Fitted on each of the four extractions.
    head: str = "logreg"
    # For the original model.
    epochs: int = 5
    # Number of images that batch statistics are computed on.
    batch_size: int = 32
    # Layers to cut the network at, joined by commas; empty for its last one.
    layer: str = ""

    def extraction(self) -> ExtractSettings:
        """The same settings for stage one, which splits the images."""
        return ExtractSettings(
            backbone=self.backbone,
            weights=self.weights,
            size_px=self.size_px,
            layer=self.layer,
            seed=self.seed,
            precision=FLOAT32,
        )
