"""Show the failure and its cause on a folder of images."""

import logging
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.cache.disk import replace_texts
from headbench.cache.format import count_splits
from headbench.cache.writer import installed_version
from headbench.classify.checked import as_json, json_text
from headbench.classify.doctor.model.anatomy import batch_norms
from headbench.classify.doctor.model.measured import Condition
from headbench.classify.doctor.scalings import taken_by
from headbench.classify.intervals import wilson
from headbench.classify.metrics import accuracy
from headbench.classify.origin import accuracy_table as table
from headbench.classify.origin.origin_images import (
    WRONG,
    Extraction,
    extract_four,
    split_images,
)
from headbench.classify.origin.origin_model import (
    EPOCH_TITLES,
    EmbeddingInputs,
    Inputs,
    PixelInputs,
    digest,
    epoch_rows,
    freeze_as_keras_2_2,
    head_alone,
    origin_model,
    run_epochs,
)
from headbench.classify.origin.origin_settings import OriginSettings
from headbench.classify.report.measure import LIBRARIES
from headbench.classify.report.page.render import render
from headbench.classify.report.pictures.origin_pictures import cells_picture, epochs_picture
from headbench.classify.wording import (
    count,
    describe_weights,
    seconds,
    share,
    with_n,
    wrapped,
)
from headbench.extract.errors import DataError
from headbench.extract.networks.applications import NETWORKS, is_hub, is_own_model
from headbench.extract.networks.backbone import create_backbone
from headbench.extract.networks.keras_network import KerasBackbone
from headbench.extract.sources.open import find_images
from headbench.extract.sources.source import Dataset

LOG = logging.getLogger(__name__)

Raw = dict[str, Any]
Rows = tuple[NDArray[np.intp], NDArray[np.intp]]
SCHEMA_VERSION = 1
MOST_SAID = 10
PAGE_FILE, JSON_FILE = "index.html", "results.json"


def show_origin(data: Path, out: Path, settings: OriginSettings, command: str = "") -> Raw:
    """Fit a head on each of four extractions, train the original model, and write a page.

    Returns the content of ``results.json`` in `out`, which includes the command line.
    """
    # Cheap checks first, before a network is loaded.
    table.make_head(settings.head, settings.seed)
    dataset = find_images(data)
    backbone, base = _open(settings)
    extraction = _extract(backbone, base, dataset, settings)
    cells = table.measure_cells(extraction, settings.head, settings.seed)
    classes = extraction.images.table.classes
    results = {
        **_facts(extraction, backbone, settings),
        "cells": [each.to_json(classes) for each in cells],
        "differences": as_json(table.compare_cells(cells, settings.seed)),
        "command": command,
    }
    for name, value in provenance(results):
        LOG.info(f"{name}: {value}")
    explained = [table.verdict(results), *table.explain_cells(results)]
    for said in (
        table.table_text(results),
        wrapped(table.footnote(results)),
        paragraphs(explained),
    ):
        LOG.info(f"\n{said}")
    _train_models(base, extraction, results, settings)
    LOG.info(f"\n{paragraphs(explain_models(results))}")
    page = _page(results, data.resolve().name)
    replace_texts(out, {JSON_FILE: json_text(results) + "\n", PAGE_FILE: page})
    LOG.info(f"\n{out}: {PAGE_FILE}, {JSON_FILE}")
    return results


def _open(settings: OriginSettings) -> tuple[KerasBackbone, Any]:
    """The backbone and its network without preprocessing; `DataError` if it has no BatchNorm."""
    name, backbone, base = settings.backbone, None, None
    if not is_own_model(name) and not is_hub(name):
        backbone = create_backbone(name, settings.weights, settings.size_px, layer=settings.layer)
    if isinstance(backbone, KerasBackbone):
        base = backbone.base()
    if not isinstance(backbone, KerasBackbone) or not batch_norms(base):
        raise DataError(
            f"--backbone {name}: expected a network with BatchNormalization of keras.applications. "
            f"Take resnet50 or another of {', '.join(NETWORKS)}."
        )
    return backbone, base


def _extract(
    backbone: KerasBackbone, base: Any, dataset: Dataset, settings: OriginSettings
) -> Extraction:
    if backbone.identity.has_random_weights:
        LOG.info("RANDOM WEIGHTS: the network was not trained. For demos and tests only.")
    images = split_images(dataset, backbone.identity, settings)
    images.file_order_split()  # before minutes of work, not after
    own = taken_by(backbone.preprocessing)
    extraction = extract_four(base, own, images, settings.batch_size, settings.seed)
    rejected = extraction.images.table.rejected
    if rejected:
        LOG.info(
            f"{count(len(rejected), 'file')} could not be used; {JSON_FILE} lists all of them:"
        )
    for path, reason, _ in rejected[:MOST_SAID]:
        LOG.info(f"  {path}: {reason}")
    return extraction


def _facts(extraction: Extraction, backbone: KerasBackbone, settings: OriginSettings) -> Raw:
    """Versions, images, network and settings, JSON-ready."""
    images = extraction.images
    images_table, config = images.table, images.table.config
    own = taken_by(backbone.preprocessing)
    return {
        "schema_version": SCHEMA_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "python": platform.python_version(),
            **{library: installed_version(library) for library in LIBRARIES},
        },
        "data": {
            **config.data,
            "splits": count_splits(images_table.splits),
            "classes": list(images_table.classes),
            "rejected": [
                {"path": each.path, "reason": each.reason} for each in images_table.rejected
            ],
        },
        "network": {
            **asdict(config.identity),
            "network": config.identity.network,
            "weights": config.weights,
            "has_random_weights": config.identity.has_random_weights,
            "weights_words": describe_weights(config.identity, config.weights),
            "scaling": own.name,
            "scaling_words": own.words,
        },
        "settings": asdict(settings),
        "chance": _chance(images.labels[images.rows("val")]),
        "network_seconds": {
            f"{scaling}, {table.mode_name(by_batch)}": each
            for (scaling, by_batch), each in extraction.seconds.items()
        },
    }


def _chance(y: NDArray[np.int32]) -> dict[str, float]:
    """Accuracy of always predicting the most frequent class."""
    return wilson(int(np.bincount(y).max()), len(y))._asdict()


def _train_models(
    base: Any, extraction: Extraction, results: Raw, settings: OriginSettings
) -> None:
    """Train the original model, then its head on correct embeddings; add both to the results."""
    images = extraction.images
    rows, classes = images.file_order_split(), images.table.classes
    right = extraction.embeddings[Condition(results["network"]["scaling"], by_batch=False)]
    pixels = PixelInputs(images, WRONG, settings.size_px)
    LOG.info(f"\nThe original model: {len(rows[0])} images of train, {len(rows[1])} of val.")
    LOG.info(paragraphs(describe_origin(results)))
    freeze_as_keras_2_2(base)
    before = digest(base)
    model = origin_model(base, len(classes), settings.seed)
    results["origin"] = _trained(model, pixels, rows, classes, settings)
    results["origin"]["base_is_unchanged"] = digest(base) == before

    LOG.info("\nThe same head for as many epochs, on correct embeddings, extracted once:")
    alone = head_alone(right.shape[1], len(classes), settings.seed)
    embeddings = EmbeddingInputs(right, images.labels)
    results["mended"] = _trained(alone, embeddings, rows, classes, settings)


def _trained(
    model: Any, inputs: Inputs, rows: Rows, classes: tuple[str, ...], settings: OriginSettings
) -> Raw:
    """Train a model for some epochs; returns the measurements, JSON-ready."""
    epochs, proba = run_epochs(
        model, inputs, rows, settings.epochs, settings.batch_size, settings.seed
    )
    train, val = rows
    y = inputs.labels[val]
    label, predicted = table.most_predicted(proba)
    return {
        "epochs": [each._asdict() for each in epochs],
        "n_train": len(train),
        "n_steps": settings.epochs * -(-len(train) // settings.batch_size),
        "val": accuracy(y, proba)._asdict(),
        "chance": _chance(y),
        "most_predicted": classes[label],
        "predicted_share": predicted._asdict(),
        "seconds": sum(each.seconds for each in epochs),
    }


def describe_origin(results: Raw) -> list[str]:
    """What the model has in common with the original one, and how it differs."""
    settings, default = results["settings"], OriginSettings()
    other = [
        f"{settings[name]}{unit} (original: {getattr(default, name)})"
        for name, unit in (("size_px", " px"), ("batch_size", " images in a batch"))
        if settings[name] != getattr(default, name)
    ]
    return [
        "As in the original script: pixels / 255; a frozen network with batch statistics in "
        "training and moving statistics in validation; a head of BatchNormalization, Dropout 0.2, "
        "Dense 512, Dropout 0.5 and softmax; Adam at 0.001; validation_split 0.2 by file order.",
        f"Different: {', '.join(['your images', *other])}; no test images; images keep their "
        f"proportions; Keras {results['versions']['keras']}.",
    ]


def explain_models(results: Raw) -> list[str]:
    """Accuracy and time of the original model, and of the same head on correct embeddings."""
    origin, mended = results["origin"], results["mended"]
    once = results["network_seconds"][f"{results['network']['scaling']}, moving"]
    n_epochs = count(len(origin["epochs"]), "epoch")
    base = "unchanged, bit for bit" if origin["base_is_unchanged"] else "CHANGED although frozen"
    return [
        f"{_end(origin, 'Original model')} Its frozen network is {base}.",
        _end(mended, "The same head on correct embeddings"),
        f"Time: {seconds(origin['seconds'])} for {n_epochs} of the original model; "
        f"{seconds(once)} in the network for one extraction, then {seconds(mended['seconds'])} for "
        f"{n_epochs} of the head.",
    ]


def _end(model: Raw, who: str) -> str:
    val, chance = table.estimate(model["val"]), model["chance"]["value"]
    predicted = model["predicted_share"]["value"]
    collapsed = f" {model['most_predicted']!r} is predicted for {share(predicted)} of val."
    return (
        f"{who}: train accuracy {share(model['epochs'][-1]['acc'])} (n = {model['n_train']}), "
        f"validation accuracy {with_n(val)}. "
        f"{'No better than' if val.low <= chance else 'Better than'} chance ({share(chance)})."
        f"{collapsed if predicted >= table.COLLAPSED else ''}"
    )


def provenance(results: Raw) -> list[tuple[str, str]]:
    """Weights, network, images, split and seed: name and value of each."""
    network, data = results["network"], results["data"]
    splits = data["splits"]
    return [
        ("weights", network["weights_words"]),
        ("network", f"{network['network']} at {network['size_px']} px"),
        ("data", f"{data['folder']} ({data['layout']})"),
        (
            "images",
            f"{splits['train']} train, {splits['val']} val, {len(data['classes'])} classes, "
            f"{len(data['rejected'])} rejected; {splits['test']} test images are not used",
        ),
        ("split of the table", str(data["split"])),
        ("seed", str(results["settings"]["seed"])),
    ]


def paragraphs(texts: list[str]) -> str:
    """Texts as wide as a terminal, each from a new line on."""
    return "\n".join(map(wrapped, texts))


def _page(results: Raw, name: str) -> str:
    """One self-contained page; every name in it is escaped."""
    origin, mended = results["origin"], results["mended"]
    marks = [table.MARKS[each["role"]] for each in results["cells"]]
    network = results["network"]
    return render(
        "origin.html",
        title=f"{name}: why validation accuracy is at chance",
        data={},
        name=name,
        results=results,
        banner=network["weights_words"] if network["has_random_weights"] else "",
        provenance=provenance(results),
        titles=table.TITLES,
        rows=list(zip(marks, table.table_rows(results), strict=True)),
        footnote=table.footnote(results),
        verdict=table.verdict(results),
        explanation=table.explain_cells(results),
        cells_picture=cells_picture(results["cells"], results["chance"]["value"]),
        settings=describe_origin(results),
        epoch_titles=EPOCH_TITLES,
        tables=[
            ("The original model", epoch_rows(origin["epochs"])),
            ("The same head on correct embeddings", epoch_rows(mended["epochs"])),
        ],
        models_explained=explain_models(results),
        epochs_picture=epochs_picture(
            origin["epochs"], mended["epochs"], origin["chance"]["value"]
        ),
    )
