"""Export a trained head with its network; written only if every format passes its check."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from headbench.cache.disk import replacing_folder
from headbench.cache.progress import Progress
from headbench.cache.reader import FeatureFile
from headbench.classify.deployment.classifier import open_classifier, say_if_not_recommended
from headbench.classify.deployment.prediction_sets import COVERAGES, calibration_scores
from headbench.classify.errors import RunError
from headbench.classify.export import MAX_LOSS
from headbench.classify.export.agreement import (
    Agreement,
    measure_agreement,
    require_small_loss,
)
from headbench.classify.export.export_formats import FORMATS, Outputs, Sample, write_trees
from headbench.classify.export.export_readme import README_FILE, export_readme, measured_lines
from headbench.classify.export.exportable import (
    Exportable,
    as_text,
    build_exportable,
    check_exportable,
    seen_by,
)
from headbench.classify.export.model_card import CARD_FILE, model_card
from headbench.classify.export.quantization import calibration_images
from headbench.classify.labelled_files import images_of, open_split
from headbench.classify.run import Run, Trained, rank
from headbench.classify.wording import describe_weights, n_bytes
from headbench.extract.errors import UnusableImageError
from headbench.extract.images.decode import decode
from headbench.extract.images.resizing import resizing_of
from headbench.extract.images.stream import DecodedImage
from headbench.extract.networks.backbone import embed_images, reopen_backbone
from headbench.extract.networks.engines import relative_difference
from headbench.extract.networks.keras_runtime import quiet_stderr, silenced
from headbench.extract.settings import BFLOAT16, FLOAT32, MIXED_FLOAT16, Runtime
from headbench.extract.sources.source import Source
from headbench.extract.stopwatch import Stopwatch

LOG = logging.getLogger(__name__)

FACTS_FILE = "export.json"
N_CHECKED = 8
# Largest difference of a probability; of what trees look at, relative. Rounded to float16 twice,
# the same network differed by a few thousandths; bfloat16 rounds eight times as coarsely.
TOLERANCES = {FLOAT32: 1e-4, MIXED_FLOAT16: 2e-2, BFLOAT16: 0.16}


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
        exported, images = build_exportable(trained, features, weights), images_of(features, data)
        _require_float32(exported, names)
        exported = replace(exported, calibration=calibration_images(features, images))
        with replacing_folder(folder) as temporary:
            written = {each: temporary / FORMATS[each].file for each in names}
            with Progress("export", len(written), "formats") as progress:
                for each, path in written.items():
                    progress.counting(FORMATS[each].write)(exported, path)
            if exported.trees is not None:
                write_trees(exported, exported.trees, temporary)
            exact = {each: path for each, path in written.items() if FORMATS[each].is_exact}
            agreement = _check(exported, exact, images, run, features, weights)
            measured = _measure(exported, written, features, trained, images, max_loss)
            for line in filter(None, [agreement, *measured_lines(measured)]):
                LOG.info(line)
            scores = calibration_scores(run.folder, features, trained)
            facts = {
                **exported.facts,
                "prediction_sets": [scores.sets(each)._asdict() for each in COVERAGES],
                "measured": {each: found._asdict() for each, found in measured.items()},
            }
            sizes = {each: _size(path) for each, path in written.items()}
            texts = {
                FACTS_FILE: as_text(facts),
                README_FILE: export_readme(exported, described, names, agreement, measured),
                CARD_FILE: model_card(run, trained, features, images, measured, sizes),
            }
            for name, text in texts.items():
                (temporary / name).write_text(text, "utf-8", newline="\n")
    _say_written(folder, exported, names)
    return folder


def _check(
    exported: Exportable,
    written: Mapping[str, Path],
    images: Source,
    run: Run,
    features: FeatureFile,
    weights: str,
) -> str:
    sample = draw_sample(features, images)
    if sample is not None and not written:
        return ""
    if sample is None:
        return (
            f"Not checked against predict: found no image of test in {images.name}. Name the "
            "folder with --data."
        )
    found = check_export(exported, written, sample, run, features, weights)
    return f"Largest difference from predict on {len(sample.paths)} images of test: {found}."


def _measure(
    exported: Exportable,
    written: Mapping[str, Path],
    features: FeatureFile,
    trained: Trained,
    images: Source,
    max_loss: float,
) -> dict[str, Agreement]:
    # What stands before trees gives no classes.
    measured = {} if exported.trees else measure_agreement(written, features, trained, images)
    require_small_loss(measured, max_loss)
    return measured


def _require_float32(exported: Exportable, names: Sequence[str]) -> None:
    rounded = [name for name in names if not FORMATS[name].is_exact]
    if exported.trees is not None and rounded:
        raise RunError(
            f"--formats {rounded[0]}: {exported.name} decides by thresholds, which rounded numbers "
            "would cross. Name formats in float32, or another head with --head, such as logreg."
        )


def draw_sample(features: FeatureFile, images: Source) -> Sample | None:
    """A few images of test, spread evenly; None if no image can be read."""
    files = open_split(features, "test", images).files if images.is_there else []
    spread = np.unique(np.linspace(0, len(files) - 1, N_CHECKED).round().astype(int))
    paths, data, pixels = [], [], []
    for file in (files[row] for row in spread if files):
        try:
            content = file.read(file.path, file.max_bytes)
            pixels.append(decode(content, resizing_of(features.identity)))
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
    """The largest difference between each format and predict, in words.

    Raises
    ------
    RunError
        If a difference is larger than rounding explains.
    """
    expected = _expected(exported, sample, run, features, weights)

    def differ(found: Outputs, rows: list[int]) -> float:
        if exported.trees is not None:
            return relative_difference(found, expected[rows])
        return float(np.abs(found.astype(np.float64) - expected[rows]).max())

    tolerance = TOLERANCES[features.identity.precision]

    def compare(name: str, path: Path) -> str:
        # TensorFlow complains of each operation that its faster library lacks.
        with quiet_stderr():
            results = list(FORMATS[name].run(exported, path, sample))
        difference = max(differ(found, rows) for rows, found in results if rows)
        # NaN fails every comparison, so it is found to differ.
        if not difference <= tolerance:
            raise RunError(
                f"{path.name}: expected {exported.output} within {tolerance:.0e} of those of "
                f"predict on {len(sample.paths)} images of test, found a difference of "
                f"{difference:.1e}. Nothing was written. Leave this format out with --formats."
            )
        n_unread = len(sample.paths) - min(len(rows) for rows, _ in results)
        unread = f" (it cannot read {n_unread} of the files)" if n_unread else ""
        return f"{name} {difference:.1e}{unread}"

    with Progress("check", len(written), "formats") as progress:
        return ", ".join(progress.counting(compare)(*each) for each in written.items())


def _expected(
    exported: Exportable, sample: Sample, run: Run, features: FeatureFile, weights: str
) -> Outputs:
    images = (DecodedImage(row, image) for row, image in enumerate(sample.pixels))
    # Else predict would log again what was logged already.
    with silenced("headbench", level=logging.WARNING):
        if exported.trees is None:
            classifier = open_classifier(run, exported.name, weights)
            found = classifier.classify(images, Runtime(), Stopwatch())
            return np.concatenate([each.embeddings for each in found])
        # The columns that trees look at, since a rounding error can lead down another branch.
        backbone = reopen_backbone(features.identity, weights)
        embedded = embed_images(backbone, images, Runtime(), Stopwatch())
        return seen_by(exported.trees, np.concatenate([each.embeddings for each in embedded]))


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
    if folder.exists() and not (folder / FACTS_FILE).is_file():
        is_empty = folder.is_dir() and not any(folder.iterdir())
        if not is_empty:
            raise RunError(
                f"{folder}: expected nothing, an empty folder or an earlier export (with "
                f"{FACTS_FILE}), found something else. Name another folder with --out."
            )


def _say_written(folder: Path, exported: Exportable, names: Sequence[str]) -> None:
    LOG.info(f"{folder}: {len(exported.classes)} classes, images of {exported.size_px} px")
    for name in names:
        path = folder / FORMATS[name].file
        size = n_bytes(_size(path))
        LOG.info(f"  {path.name} ({size}): {FORMATS[name].use.format(str(path))}")
    if exported.trees is not None:
        LOG.info(f"  These give {exported.output}. {README_FILE} shows how the trees use them.")


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(each.stat().st_size for each in files if each.is_file())
