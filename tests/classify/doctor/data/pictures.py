"""Small folders of pictures whose facts are known."""

from pathlib import Path

import numpy as np
from PIL import Image

from headbench.classify.doctor.data.examine_data import examine_data
from headbench.classify.doctor.data.scan import Scan, scan
from headbench.classify.doctor.finding import Finding
from headbench.classify.doctor.script import ScriptSettings
from headbench.extract.sources.open import find_images


def picture(seed: int, width: int = 48, height: int = 48) -> Image.Image:
    """Smooth blobs of colour, others for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, size=(6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def write_pictures(folder: Path, seeds: range) -> None:
    """One PNG for each seed, called by it."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        picture(seed).save(folder / f"{seed:04}.png")


def scan_folder(root: Path) -> Scan:
    dataset = find_images(root)
    return scan(root, dataset.images, dataset.classes)


def findings_of(root: Path, script: ScriptSettings | None = None) -> dict[str, Finding]:
    """What is found in a folder, by code; each code once."""
    found = examine_data(root, script or ScriptSettings(size=32)).findings
    by_code = {each.code: each for each in found}
    assert len(by_code) == len(found)
    return by_code
