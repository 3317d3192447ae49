"""Compares what an export gives with what predict gives, before the export is kept."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from headbench.cache.reader import FeatureFile
from headbench.classify.deployment.classifier import open_classifier
from headbench.classify.errors import RunError
from headbench.classify.export.export_formats import FORMATS, Outputs, Sample
from headbench.classify.export.exportable import Exportable, seen_by
from headbench.classify.labelled_files import open_split
from headbench.classify.run import Run
from headbench.extract.errors import UnusableImageError
from headbench.extract.images.decode import decode
from headbench.extract.images.stream import DecodedImage
from headbench.extract.networks.backbone import embed_images, reopen_backbone
from headbench.extract.networks.engines import relative_difference
from headbench.extract.networks.keras_runtime import quiet_stderr
from headbench.extract.progress import Stopwatch
from headbench.extract.settings import FLOAT32, Runtime
from headbench.extract.sources.source import Source

N_CHECKED = 8
# Largest difference of a probability; of what trees look at, relative. Twice rounded to float16,
# the same network was seen to differ by a few thousandths.
TOLERANCE, FLOAT16_TOLERANCE = 1e-4, 2e-2


def draw_sample(features: FeatureFile, images: Source) -> Sample | None:
    """A few images of test, spread evenly; None if none of them is there any more."""
    files = open_split(features, "test", images).files if images.is_there else []
    spread = np.unique(np.linspace(0, len(files) - 1, N_CHECKED).round().astype(int))
    paths, data, pixels = [], [], []
    for file in (files[row] for row in spread if files):
        try:
            content = file.read(file.path)
            pixels.append(decode(content, features.identity.size_px))
        except UnusableImageError:
            continue
        paths.append(file.path)
        data.append(content)
    return Sample(paths, data, np.stack(pixels)) if paths else None


def check_export(
    exported: Exportable,
    written: Mapping[str, Path],
    sample: Sample,
    run: Run,
    features: FeatureFile,
    weights: str,
) -> str:
    """Compare what was written, by format, with what predict computes.

    Returns
    -------
    str
        The largest difference of each format, in words.

    Raises
    ------
    RunError
        If one is not the same.
    """
    expected = _expected(exported, sample, run, features, weights)
    compare = _largest if exported.trees is None else relative_difference
    tolerance = TOLERANCE if features.identity.precision == FLOAT32 else FLOAT16_TOLERANCE
    phrases = []
    for name, path in written.items():
        # TensorFlow complains of each operation that its faster library lacks.
        with quiet_stderr():
            results = list(FORMATS[name].run(exported, path, sample))
        difference = max(compare(found, expected[rows]) for rows, found in results if len(rows))
        # NaN fails every comparison, so it is found to differ.
        if not difference <= tolerance:
            raise RunError(
                f"{path.name}: its {exported.output} differ by {difference:.1e} from those of "
                f"predict on {len(sample.paths)} images of test, expected at most {tolerance:.0e}. "
                "Nothing was written; leave that one out with --formats (make: FORMATS=...)."
            )
        n_unread = len(sample.paths) - min(len(rows) for rows, _ in results)
        unread = f" (it does not read {n_unread} of the files)" if n_unread else ""
        phrases.append(f"{name} {difference:.1e}{unread}")
    return ", ".join(phrases)


def _largest(found: Outputs, expected: Outputs) -> float:
    return float(np.abs(found.astype(np.float64) - expected).max())


def _expected(
    exported: Exportable, sample: Sample, run: Run, features: FeatureFile, weights: str
) -> Outputs:
    images = (DecodedImage(row, image) for row, image in enumerate(sample.pixels))
    with _silence():
        if exported.trees is None:
            classifier = open_classifier(run, exported.name, weights)
            found = classifier.classify(images, Runtime(), Stopwatch())
            return np.concatenate([proba for _, proba in found])
        # The columns that trees look at, since a rounding error can lead down another branch.
        backbone = reopen_backbone(features.identity, weights)
        embedded = embed_images(backbone, images, Runtime(), Stopwatch())
        return seen_by(exported.trees, np.concatenate([each.embeddings for each in embedded]))


@contextmanager
def _silence() -> Iterator[None]:
    """Predict would log once more what was logged already."""
    logger = logging.getLogger("headbench")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
