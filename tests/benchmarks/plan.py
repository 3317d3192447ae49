"""``python -m tests.benchmarks.plan ROWS``: memory of a run's plan, for made-up paths far away."""

import hashlib
import json
import resource
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.cache.writer import Location
from headbench.extract.plan import Known, make_plan
from headbench.extract.settings import ExtractSettings
from headbench.extract.sources.folder import Folder, label_paths
from headbench.extract.sources.open import list_images
from headbench.extract.sources.source import Listing
from tests.benchmarks.synthetic_features import IDENTITY

N_CLASSES, PART_ROWS = 1000, 8192


class MadeUp(Folder):
    """A folder of so many images, of which there is none."""

    def __init__(self, n_images: int) -> None:
        super().__init__(Path("made-up"))
        object.__setattr__(self, "n_images", n_images)

    def find(self) -> Listing:
        """Paths such as ``class0123/0000000123.jpg``."""
        paths = [f"class{row % N_CLASSES:04}/{row:010}.jpg" for row in range(self.n_images)]
        return label_paths(paths, self.name, lambda _: b"")

    def stamps(self, paths: list[str]) -> NDArray[np.int64]:
        """The same for all."""
        return np.ones((len(paths), 4), dtype=np.int64)


def main() -> None:
    """Print bytes an image, held and at the peak."""
    n_images = int(sys.argv[1])
    before = resident()
    dataset = list_images(MadeUp(n_images))
    paths = [image.path for image in dataset.images]
    stamps = dataset.source.stamps(paths)
    hashes = [hashlib.sha256(b"%d" % row).digest() for row in range(n_images)]
    files = [Path(f"parts/{number}.h5") for number in range(-(-n_images // PART_ROWS))]
    cached = {
        content: Location(files[row // PART_ROWS], row % PART_ROWS)
        for row, content in enumerate(hashes)
    }
    plan = make_plan(dataset, hashes, IDENTITY, Known(None, {}, cached), ExtractSettings())
    held = resident() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    assert len(stamps) == n_images  # held until here, as by a run
    found = {"held": held / n_images, "peak": peak / n_images, "images": len(plan.table.paths)}
    print(json.dumps(found))


def resident() -> int:
    """Bytes of memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main()
