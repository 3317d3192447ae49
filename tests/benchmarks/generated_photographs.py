"""Photographs for benchmarks where no real ones are given."""

from pathlib import Path

import numpy as np
from PIL import Image

N_CLASSES = 4


def write_photos(folder: Path, n_images: int) -> Path:
    """Coloured spots, 512 px, as JPEG, in class folders; each class leans to its own colour."""
    rng = np.random.default_rng(0)
    for number in range(n_images):
        label = number % N_CLASSES
        spots = rng.integers(0, 192, (16, 16, 3)) + 20 * label * np.array([1, 0, -1])
        small = Image.fromarray(spots.clip(0, 255).astype(np.uint8))
        path = folder / f"class {label}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        small.resize((512, 512), Image.Resampling.BICUBIC).save(path, quality=90)
    return folder
