"""Show the failure and its cause on a folder of images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.origin.cells import compare_cells, make_head, measure_cells
from classify.origin.epoch_sentences import explain_models, what_is_the_origins
from classify.origin.epochs import EmbeddingInputs, Inputs, PixelInputs, run_epochs
from classify.origin.extraction import MOVING, WRONG, Extraction, Variant, extract_variants
from classify.origin.images import split_images
from classify.origin.model import digest, freeze_as_keras_2_2, head_alone, origin_model
from classify.origin.results import Trained, model_results, table_results
from classify.origin.sentences import explain_cells
from classify.origin.settings import OriginSettings
from classify.origin.text import footnote, paragraphs, provenance, table_text
from classify.origin.write import JSON_FILE, PAGE_FILE, write_origin
from extract.backbones import create_backbone
from extract.batch_statistics import batch_norms
from extract.errors import DataError
from extract.keras_backbone import KerasBackbone
from extract.networks import NETWORKS
from extract.sources.open import find_images
from extract.sources.source import Dataset

Say = Callable[[str], None]
MOST_SAID = 10


def show_origin(
    data: Path, out: Path, settings: OriginSettings, say: Say, command: str = ""
) -> dict[str, Any]:
    """Four extractions with one head on each, then the origin's own model; all said and written.

    Parameters
    ----------
    data : Path
        The folder of images; see :func:`extract.sources.open.find_images` for its layouts.
    out : Path
        Folder to write to.
    settings : OriginSettings
    say : callable
        Told what happens, a line at a time.
    command : str
        The command line, kept in the results.

    Returns
    -------
    dict
        The results, as ``results.json`` holds them.

    Raises
    ------
    DataError, WeightsError, RunError
        For what the user can mend.
    """
    # What costs nothing is asked first, and a network is loaded last.
    make_head(settings.head, settings.seed)
    dataset = find_images(data)
    backbone, base = _open(settings)
    extraction = _extract(backbone, base, dataset, settings, say)
    cells = measure_cells(extraction, settings.head, settings.seed)
    comparisons = compare_cells(cells, settings.seed)
    results = table_results(extraction, cells, comparisons, backbone, settings)
    results["command"] = command
    for name, value in provenance(results):
        say(f"{name}: {value}")
    for text in (table_text(results), paragraphs([footnote(results)])):
        say(f"\n{text}")
    say(f"\n{paragraphs(explain_cells(results))}")
    _train_models(base, extraction, results, settings, say)
    say(f"\n{paragraphs(explain_models(results))}")
    write_origin(results, data.resolve().name, out)
    say(f"\n{out}: {PAGE_FILE}, {JSON_FILE}")
    return results


def _open(settings: OriginSettings) -> tuple[KerasBackbone, Any]:
    """The backbone and its network without preprocessing.

    Raises
    ------
    DataError
        If it has no BatchNormalization.
    WeightsError
    """
    backbone = create_backbone(settings.backbone, settings.weights, settings.size_px)
    base = backbone.base() if isinstance(backbone, KerasBackbone) else None
    if not isinstance(backbone, KerasBackbone) or not batch_norms(base):
        raise DataError(
            f"--backbone {settings.backbone}: expected a network with BatchNormalization, which is "
            f"what the origin failed by; this one has none. Take resnet50 or another of "
            f"{', '.join(NETWORKS)}."
        )
    return backbone, base


def _extract(
    backbone: KerasBackbone, base: Any, dataset: Dataset, settings: OriginSettings, say: Say
) -> Extraction:
    identity = backbone.identity
    if identity.has_random_weights:
        say("RANDOM WEIGHTS: this network knows nothing. For demos and tests only.")
    images = split_images(dataset, identity, settings, say)
    images.file_order_split()  # before minutes of work, not after
    extraction = extract_variants(backbone, base, images, settings.batch_size, settings.seed)
    rejected = extraction.images.table.rejected
    if rejected:
        say(f"{len(rejected)} files are left out; all are listed in {JSON_FILE}:")
    for path, reason, _ in rejected[:MOST_SAID]:
        say(f"  {path}: {reason}")
    return extraction


def _train_models(
    base: Any, extraction: Extraction, results: dict[str, Any], settings: OriginSettings, say: Say
) -> None:
    """Train the origin's model, then its head on what is right; adds both to the results."""
    images = extraction.images
    rows = images.file_order_split()
    classes, y_val = images.table.classes, images.labels[rows[1]]
    pixels = PixelInputs(images, WRONG, settings.size_px)
    right = extraction.embeddings[Variant(results["network"]["scaling"], MOVING)]
    embeddings = EmbeddingInputs(right, images.labels)
    n_train, n_val = map(len, rows)

    say(f"\nThe origin's own model: {n_train} train, {n_val} val images.")
    say(paragraphs(what_is_the_origins(results)))
    freeze_as_keras_2_2(base)
    before = digest(base)
    model = origin_model(base, len(classes), settings.seed)
    origin = model_results(_trained(model, pixels, rows, settings, say), y_val, classes)
    results["origin"] = {**origin, "base_is_unchanged": digest(base) == before}

    say("\nThe same head for as many epochs, on embeddings that were extracted once and right:")
    alone = head_alone(right.shape[1], len(classes), settings.seed)
    mended = _trained(alone, embeddings, rows, settings, say)
    results["mended"] = model_results(mended, y_val, classes)


def _trained(
    model: Any,
    inputs: Inputs,
    rows: tuple[NDArray[np.intp], NDArray[np.intp]],
    settings: OriginSettings,
    say: Say,
) -> Trained:
    epochs, proba = run_epochs(
        model, inputs, rows, settings.epochs, settings.batch_size, settings.seed, say
    )
    n_train = len(rows[0])
    n_steps = settings.epochs * -(-n_train // settings.batch_size)
    return Trained(epochs, proba, n_train, n_steps)
