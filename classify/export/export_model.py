"""Export a trained head with its network: every format whole and checked, or nothing at all."""

import logging
from collections.abc import Sequence
from pathlib import Path

from headbench.cache.disk import replacing_folder
from headbench.cache.reader import FeatureFile
from headbench.classify.errors import RunError
from headbench.classify.export.check import check_export, draw_sample
from headbench.classify.export.export_formats import FORMATS, as_text, write_trees
from headbench.classify.export.exportable import Exportable, build_exportable, check_exportable
from headbench.classify.labelled_files import images_of
from headbench.classify.run import Run, Trained, rank
from headbench.classify.wording import describe_weights, n_bytes

LOG = logging.getLogger(__name__)

FACTS_FILE = "export.json"


def export_model(
    run: Run,
    head: str | None,
    weights: str | None,
    data: str | Path | None,
    out: Path | None,
    formats: Sequence[str] | None,
) -> Path:
    """Write one model per format that takes images and gives probabilities.

    Parameters
    ----------
    head : str or None
        A trained head or a fine-tuned network; None for the best on val that can be exported.
    weights : str or None
        The backbone's weights; None for those that the features were made with.
    data : path-like, URL or None
        The folder of images, to check on; None for the one that the features were made from.
    out : Path or None
        The folder to write; None for ``export/HEAD`` in the run's own.
    formats : sequence of str or None
        Of `FORMATS`; None for all that can be written.

    Returns
    -------
    Path
        The folder: an earlier export in its place is replaced once the new one is whole.

    Raises
    ------
    RunError, WeightsError, FeatureFileError
        Also if what was written does not give the probabilities of predict.
    """
    names = _formats(formats)
    with FeatureFile(run.features_path) as features:
        trained = run.find(head, features) if head else _best(run, features)
        folder = out or run.folder / "export" / trained.record.name
        _require_own(folder)
        weights = weights or features.config.weights
        described = describe_weights(features.identity, weights)
        LOG.info(f"head {trained.record.name}, weights {described}")
        exported = build_exportable(trained, features, weights)
        images = images_of(features, data)
        with replacing_folder(folder) as temporary:
            written = {each: temporary / FORMATS[each].file for each in names}
            for each, path in written.items():
                FORMATS[each].write(exported, path)
            if exported.trees is not None:
                write_trees(exported, exported.trees, temporary)
            (temporary / FACTS_FILE).write_text(as_text(exported.facts), "utf-8")
            sample = draw_sample(features, images)
            if sample is None:
                LOG.info(
                    f"not checked against predict: {images.name} holds no image of test (--data)."
                )
            else:
                found = check_export(exported, written, sample, run, features, weights)
                n_images = len(sample.paths)
                LOG.info(f"largest difference from predict on {n_images} images of test: {found}")
    _say_written(folder, exported, names)
    return folder


def _formats(formats: Sequence[str] | None) -> list[str]:
    missing = [name for name, each in FORMATS.items() if not each.is_available]
    if formats is None:
        for name in missing:
            LOG.info(f"{name} is left out: it {_way_out(name)}.")
        return [name for name in FORMATS if name not in missing]
    for name in set(formats).intersection(missing):
        raise RunError(f"--formats {name}: {_way_out(name)}.")
    return list(dict.fromkeys(formats))


def _way_out(name: str) -> str:
    return f"needs more packages: make install EXTRAS={name}"


def _best(run: Run, features: FeatureFile) -> Trained:
    """The best on val of those that can be exported."""
    ranked = rank(run.trained(features), features.labels("val"))
    for trained in ranked:
        try:
            check_exportable(trained)
        except RunError as error:
            LOG.info(str(error).split(":", maxsplit=1)[0] + "; on to the next best on val.")
            continue
        return trained
    raise RunError(f"{run.folder}: nothing that can be exported. Run 'make heads HEADS=logreg'.")


def _require_own(folder: Path) -> None:
    """Refuse to replace what is no export."""
    if folder.exists() and not (folder / FACTS_FILE).is_file():
        is_empty = folder.is_dir() and not any(folder.iterdir())
        if not is_empty:
            raise RunError(
                f"{folder}: expected nothing, an empty folder or an earlier export (with "
                f"{FACTS_FILE}), found something else. Name another with --out (make: OUT=...)."
            )


def _say_written(folder: Path, exported: Exportable, names: Sequence[str]) -> None:
    LOG.info(f"{folder}: {len(exported.classes)} classes, images of {exported.size_px} px")
    for name in names:
        path = folder / FORMATS[name].file
        size = n_bytes(_size(path))
        LOG.info(f"  {path.name} ({size}): {FORMATS[name].use.format(str(path))}")
    if exported.trees is not None:
        LOG.info(f"  These give {exported.output}; the trees and how to use them: README.txt")


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(each.stat().st_size for each in files if each.is_file())
