"""The demo: all three stages on the handwritten digits that come with scikit-learn."""

import logging
from pathlib import Path

import numpy as np
from PIL import Image

from headbench.cache.format import RANDOM_WEIGHTS
from headbench.extract.errors import WeightsError
from headbench.extract.networks.backbone import create_backbone
from headbench.extract.settings import IMAGENET, ExtractSettings
from headbench.recipes import run_commands
from headbench.run_names import new_run_path

LOG = logging.getLogger(__name__)

SIZE_PX = 64
# The digits are 8 x 8 px; written larger, so that people can look at them.
FILE_PX = 64
EPOCHS = 2


def run_demo(name: str) -> None:
    """Write the digits as image files and run every stage on them, showing each command.

    Parameters
    ----------
    name : str
        Of the run; the images go to ``images/`` in its folder.
    """
    folder = new_run_path(name)
    images = folder / "images"
    write_digits(images)
    extract = ["--name", name, "--weights", _weights(), "--size", str(SIZE_PX), "--overwrite"]
    commands = [
        ["features", str(images), *extract],
        ["heads", name],
        # A mirrored digit is no digit.
        ["finetune", name, "--epochs", str(EPOCHS), "--no-augment"],
        ["report", name, "--brief"],
        ["predict", name, "--images", str(images / "7/0007.png")],
    ]
    run_commands(commands)
    LOG.info("Your own photographs: headbench features FOLDER, headbench heads, headbench report")


def write_digits(folder: Path) -> None:
    """Write the 1 797 digits as PNG files, one folder per class; files that are there stay."""
    # Imported here: it takes a second, which every other command would wait for.
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / str(label) / f"{number:04}.png"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            grey = Image.fromarray((pixels * (255 / 16)).astype(np.uint8))
            grey.resize((FILE_PX, FILE_PX), Image.Resampling.BICUBIC).save(path)


def _weights() -> str:
    """ImageNet's if they are on disk or can be fetched, else random ones: in the demo alone."""
    backbone = create_backbone(ExtractSettings().backbone, IMAGENET, SIZE_PX)
    try:
        LOG.info(f"ImageNet weights: {backbone.identity.weights_hash}")
    except WeightsError as error:
        LOG.info(
            f"{error}\nThe demo goes on with RANDOM weights: they show how it works, not how well."
        )
        return RANDOM_WEIGHTS
    return IMAGENET
