"""Export a trained head with its network; written only if every format passes its check."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from headbench.cache.disk import replacing_folder
from headbench.cache.progress import Progress
from headbench.cache.reader import FeatureFile
from headbench.classify.checked import json_text
from headbench.classify.deployment.classifier import open_classifier, say_if_not_recommended
from headbench.classify.deployment.prediction_sets import COVERAGES, calibration_scores
from headbench.classify.errors import RunError
from headbench.classify.export import MAX_LOSS
from headbench.classify.export.agreement import measure_agreement, require_small_loss
from headbench.classify.export.export_formats import FORMATS, Outputs, Sample, write_trees
from headbench.classify.export.export_readme import README_FILE, export_texts
from headbench.classify.export.exportable import (
    Exportable,
    build_exportable,
    check_exportable,
    seen_by,
)
from headbench.classify.export.quantization import calibration_images, sampled_images
from headbench.classify.labelled_files import images_of
from headbench.classify.report.opened_run import OpenedRun
from headbench.classify.run import Run, Trained, rank
from headbench.classify.wording import describe_weights, n_bytes
from headbench.extract.images.stream import DecodedImage
from headbench.extract.networks.backbone import embed_images, reopen_backbone
from headbench.extract.networks.engines import relative_difference
from headbench.extract.networks.keras_runtime import quiet_stderr, silenced
from headbench.extract.settings import BFLOAT16, FLOAT32, MIXED_FLOAT16, Runtime
from headbench.extract.stopwatch import Stopwatch

LOG = logging.getLogger(__name__)

FACTS_FILE = "export.json"
N_CHECKED = 8
# Largest difference of a probability; of what trees look at, relative. Rounded to float16 twice,
# the same network differed by a few thousandths.
TOLERANCE, FLOAT16_TOLERANCE = 1e-4, 2e-2


def export_model(
    run: Run,
    head: str | None,
    weights: str | None,
    data: str | Path | None,
    out: Path | None,
    formats: Sequence[str] | None,
    max_loss: float = MAX_LOSS,
) -> Path:
    """Write a model in each format: from images to probabilities.

    Parameters
    ----------
    head : str or None
        A trained head or a fine-tuned network; None for the best on val that can be exported.
    weights : str or None
        The backbone's weights; None for those that the features were made with.
    data : path-like, URL or None
        The images to check on; None for those that the features were made from.
    out : Path or None
        The folder to write; None for ``export/HEAD`` in the run's folder.
    formats : sequence of str or None
        Names in `FORMATS`; None for those in float32 whose packages are installed, except TFLite.
    max_loss : float
        Points of accuracy that a format in smaller numbers may lose against predict.

    Returns
    -------
    Path
        The folder. An earlier export there is replaced once the new one is complete.

    Raises
    ------
    RunError, WeightsError, FeatureFileError
        Also if an exported model gives other probabilities than predict, or loses too much.
    """
    names = _formats(formats)
    with FeatureFile(run.features_path) as features:
        trained = run.find(head, features) if head else _best(run, features)
        folder = out or run.folder / "export" / trained.record.name
        _require_own(folder)
        weights = weights or features.config.weights
        described = describe_weights(features.identity, weights)
        LOG.info(f"head {trained.record.name}, weights {described}")
        opened = OpenedRun(run, features, [trained], trained, images_of(features, data), "")
        exported = build_exportable(trained, features, weights)
        _require_float32(exported, names)
        exported = replace(exported, calibration=partial(calibration_images, opened))
        with replacing_folder(folder) as temporary:
            written = {each: temporary / FORMATS[each].file for each in names}
            with Progress("export", len(written), "formats") as progress:
                for each, path in written.items():
                    progress.counting(FORMATS[each].write)(exported, path)
            if exported.trees is not None:
                write_trees(exported, exported.trees, temporary)
            agreement = check_export(exported, written, opened, weights)
            # What stands before trees gives no classes.
            measured = {} if exported.trees else measure_agreement(written, opened)
            require_small_loss(measured, max_loss)
            lines = [f"{each}: {found}" for each, found in measured.items()]
            for line in filter(None, [agreement, *lines]):
                LOG.info(line)
            scores = calibration_scores(run.folder, features, trained)
            facts = {
                **exported.facts,
                "prediction_sets": [scores.sets(each)._asdict() for each in COVERAGES],
                "measured": {each: found._asdict() for each, found in measured.items()},
            }
            sizes = {each: _size(path) for each, path in written.items()}
            texts = {
                FACTS_FILE: json_text(facts),
                **export_texts(exported, opened, sizes, agreement, measured),
            }
            for name, text in texts.items():
                (temporary / name).write_text(text, "utf-8", newline="\n")
    _say_written(folder, exported, names)
    return folder


def _require_float32(exported: Exportable, names: Sequence[str]) -> None:
    rounded = [name for name in names if not FORMATS[name].is_exact]
    if exported.trees is not None and rounded:
        raise RunError(
            f"--formats {rounded[0]}: {exported.name} decides by thresholds, which rounded numbers "
            "would cross. Name formats in float32, or another head with --head, such as logreg."
        )


def draw_sample(opened: OpenedRun) -> Sample | None:
    """A few images of test, by class; None if no image can be read."""
    found = list(sampled_images(opened, "test", N_CHECKED))
    if not found:
        return None
    data = [file.read(file.path, file.max_bytes) for _, file, _ in found]
    return Sample(data, np.stack([image for *_, image in found]))


def check_export(
    exported: Exportable, written: Mapping[str, Path], opened: OpenedRun, weights: str
) -> str:
    """The largest difference between each format in float32 and predict, in words.

    Raises
    ------
    RunError
        If a difference is larger than rounding explains.
    """
    sample = draw_sample(opened)
    if sample is None:
        return (
            f"Not checked against predict: found no image of test in {opened.images.name}. Name "
            "the folder with --data."
        )
    exact = {name: path for name, path in written.items() if FORMATS[name].is_exact}
    if not exact:
        return ""
    expected = _expected(exported, sample, opened.run, weights)

    def differ(found: Outputs, rows: list[int]) -> float:
        if exported.trees is not None:
            return relative_difference(found, expected[rows])
        return float(np.abs(found.astype(np.float64) - expected[rows]).max())

    is_float16 = opened.features.identity.precision == MIXED_FLOAT16
    tolerance = FLOAT16_TOLERANCE if is_float16 else TOLERANCE

    def compare(name: str, path: Path) -> str:
        # TensorFlow complains of each operation that its faster library lacks.
        with quiet_stderr():
            results = list(FORMATS[name].run(exported, path, sample))
        difference = max(differ(found, rows) for rows, found in results if rows)
        # NaN fails every comparison, so it is found to differ.
        if not difference <= tolerance:
            raise RunError(
                f"{path.name}: expected {exported.output} within {tolerance:.0e} of those of "
                f"predict on {len(sample.data)} images of test, found a difference of "
                f"{difference:.1e}. Nothing was written. Leave this format out with --formats."
            )
        n_unread = len(sample.data) - min(len(rows) for rows, _ in results)
        unread = f" (it cannot read {n_unread} of the files)" if n_unread else ""
        return f"{name} {difference:.1e}{unread}"

    with Progress("check", len(exact), "formats") as progress:
        found = ", ".join(progress.counting(compare)(*each) for each in exact.items())
    return f"Largest difference from predict on {len(sample.data)} images of test: {found}."


def _expected(exported: Exportable, sample: Sample, run: Run, weights: str) -> Outputs:
    """What predict gives; or what trees look at: a rounding error can lead down another branch."""
    images = (DecodedImage(row, image) for row, image in enumerate(sample.pixels))
    # Else predict would log again what was logged already.
    with silenced("headbench", level=logging.WARNING):
        classifier = open_classifier(run, exported.name, weights)
        network, identity = classifier.network, classifier.identity
        if classifier.head is not None and identity.precision == BFLOAT16:
            # An export is in float32: rounding to bfloat16 would hide what is wrong.
            network = reopen_backbone(replace(identity, precision=FLOAT32), weights)
        embedded = embed_images(network, images, Runtime(), Stopwatch())
        outputs = np.concatenate([each.embeddings for each in embedded])
    return classifier.proba(outputs) if exported.trees is None else seen_by(exported.trees, outputs)


def _formats(formats: Sequence[str] | None) -> list[str]:
    missing = [name for name, each in FORMATS.items() if not each.is_available]
    if formats is None:
        default = [name for name, each in FORMATS.items() if each.is_default]
        for name in (each for each in default if each in missing):
            LOG.info(f"{name} is left out: it {_way_out(name)}.")
        return [name for name in default if name not in missing]
    for name in (each for each in formats if each not in FORMATS):
        raise RunError(f"--formats {name}: expected one of {', '.join(FORMATS)}.")
    for name in set(formats).intersection(missing):
        raise RunError(f"--formats {name}: {_way_out(name)}.")
    return list(dict.fromkeys(formats))


def _way_out(name: str) -> str:
    return f'needs more packages: pip install "headbench[{name.split("-")[0]}]"'


def _best(run: Run, features: FeatureFile) -> Trained:
    """The best on val that can be exported."""
    y_val = features.labels("val")
    for trained in rank(run.trained(features), y_val):
        try:
            check_exportable(trained)
        except RunError as error:
            LOG.info(str(error).split(":", maxsplit=1)[0] + "; trying the next best on val")
            continue
        say_if_not_recommended(trained, y_val)
        return trained
    raise RunError(
        f"{run.folder}: expected a head that can be exported, found none. Run "
        f"'{run.command_line('heads', '--heads', 'logreg')}'."
    )


def _require_own(folder: Path) -> None:
    """Refuse to replace anything but an earlier export."""
    is_empty = folder.is_dir() and not any(folder.iterdir())
    if folder.exists() and not is_empty and not (folder / FACTS_FILE).is_file():
        raise RunError(
            f"{folder}: expected nothing, an empty folder or an earlier export (with "
            f"{FACTS_FILE}), found something else. Name another folder with --out."
        )


def _say_written(folder: Path, exported: Exportable, names: Sequence[str]) -> None:
    LOG.info(f"{folder}: {len(exported.classes)} classes, images of {exported.size_px} px")
    for path in (folder / FORMATS[name].file for name in names):
        LOG.info(f"  {path} ({n_bytes(_size(path))})")
    LOG.info(f"  {README_FILE} has examples in Python.")


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(each.stat().st_size for each in files if each.is_file())
