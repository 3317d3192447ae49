"""The file itself: whether it is whole, and whether its network knows anything."""

from collections.abc import Iterator

from cache.reader import FeatureFile
from cache.verify import Inspection
from classify.doctor.finding import Finding, Severity
from classify.wording import count

MOST_NAMED = 5


def examine_file(features: FeatureFile, inspection: Inspection) -> Iterator[Finding]:
    """Damage and random weights.

    Parameters
    ----------
    features : FeatureFile
    inspection : Inspection
        Of the same file.
    """
    if inspection.damage:
        yield _damaged(inspection)
    if features.identity.has_random_weights:
        yield Finding(
            "random-weights",
            Severity.WARNING,
            f"The embeddings are those of a {features.identity.backbone} with random weights, "
            "which knows nothing of images.",
            (f"{features.path}: weights {features.identity.weights_hash}.",),
            "Extract with trained weights: 'make features WEIGHTS=imagenet OVERWRITE=1', or name "
            "a file of them.",
        )


def _damaged(inspection: Inspection) -> Finding:
    damage, n_images = inspection.damage, len(inspection.is_whole)
    n_lost = int((~inspection.is_whole).sum())
    n_more = len(damage) - MOST_NAMED
    return Finding(
        "file-damaged",
        Severity.SEVERE,
        f"{inspection.path} is damaged: {n_lost} of {count(n_images, 'image')} cannot be used.",
        (
            f"{count(inspection.n_blocks, 'block')} of data were compared with their checksums, "
            "and all values looked at.",
            *map(str, damage[:MOST_NAMED]),
            *([f"And {n_more} more places: 'make verify' lists them."] if n_more > 0 else []),
        ),
        "'make verify REPAIR=1' drops what is damaged, 'make features' extracts just that again; "
        "then 'make heads'. If it comes back, look at the disk.",
    )
