"""Which files did a head see when it was trained or chosen? Told by their content."""

from collections.abc import Sequence
from pathlib import Path

from cache.format import SPLITS
from cache.reader import FeatureFile
from extract.progress import Progress
from extract.read import ImageFile
from extract.stream import hash_files

SEEN_SPLITS = ("train", "val")


def seen_files(features: FeatureFile, paths: Sequence[Path]) -> dict[Path, str]:
    """The split of each file that is, whatever its name, an image of train or val.

    Parameters
    ----------
    features : FeatureFile
        What was trained on.
    paths : sequence of Path
        Each is read once.
    """
    table = features.table
    splits = (SPLITS[split] for split in table.splits.tolist())
    split_of = dict(zip(table.contents(), splits, strict=True))
    seen: dict[Path, str] = {}
    with Progress("compare with train and val", len(paths)) as progress:
        for path, content in zip(paths, hash_files(map(ImageFile, paths)), strict=True):
            # What cannot be read is nobody's copy; why not is said in its own place.
            split = split_of.get(content) if isinstance(content, bytes) else None
            if split in SEEN_SPLITS:
                seen[path] = split
            progress.update()
    return seen
