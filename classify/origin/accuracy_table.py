"""The table of one head on four extractions, validated in two modes, and what it shows."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.classify.doctor.model.measured import Condition
from headbench.classify.heads.head import Head
from headbench.classify.intervals import Comparison, Estimate, compare_right, holm_corrected, wilson
from headbench.classify.metrics import accuracy
from headbench.classify.origin.origin_images import WRONG, Extraction
from headbench.classify.train_heads import class_proba
from headbench.classify.train_settings import TrainSettings, configured_heads
from headbench.classify.wording import aligned, percent, points, share

RIGHT, ORIGIN = "right", "origin"
MARKS = {RIGHT: "correct", ORIGIN: "original", "": ""}
TITLES = ("pixels", "BN in training", "BN in validation", "train", "val", "most predicted")
# From this share of predictions on, the class is named.
COLLAPSED = 0.5
Raw = dict[str, Any]


def mode_name(by_batch: bool) -> str:
    """Statistics that BatchNormalization uses: ``moving`` or ``batch``."""
    return "batch" if by_batch else "moving"


class Cell(NamedTuple):
    """A head trained on one extraction and validated on another, in the mode `by_batch`.

    Attributes
    ----------
    train, val
        Accuracy on train in the mode of training, and on val in the mode of validation.
    train_validated
        Accuracy on train in the mode of validation; if it is low, the cause is not overfitting.
    most_predicted, predicted_share
        The class predicted for most val images, and its share of them.
    is_right : bool (n_val,)
    chosen
        The head's settings, chosen on val in the mode of training.
    """

    trained: Condition
    by_batch: bool
    train: Estimate
    val: Estimate
    train_validated: Estimate
    most_predicted: int
    predicted_share: Estimate
    is_right: NDArray[np.bool_]
    chosen: dict[str, Any]

    @property
    def key(self) -> tuple[str, bool, bool]:
        """Scaling, whether trained and whether validated with batch statistics."""
        return *self.trained, self.by_batch

    @property
    def role(self) -> str:
        """``right``, ``origin`` or nothing."""
        is_wrong = self.trained.scaling == WRONG.name
        if self.key[1:] == (False, False) and not is_wrong:
            return RIGHT
        return ORIGIN if self.key == (WRONG.name, True, False) else ""

    def to_json(self, classes: tuple[str, ...]) -> Raw:
        """JSON-ready, without what belongs to single images."""
        return {
            "preprocessing": self.trained.scaling,
            "trained": mode_name(self.trained.by_batch),
            "validated": mode_name(self.by_batch),
            "role": self.role,
            "train": self.train._asdict(),
            "val": self.val._asdict(),
            "train_validated": self.train_validated._asdict(),
            "most_predicted": classes[self.most_predicted],
            "predicted_share": self.predicted_share._asdict(),
            "chosen": self.chosen,
        }


def make_head(name: str, seed: int) -> Head:
    """A head by name, with the defaults of ``headbench heads``; `RunError` for an unknown name."""
    return configured_heads([name], seed, TrainSettings())[name]


def measure_cells(extraction: Extraction, name: str, seed: int) -> list[Cell]:
    """Fit a head to each of the four extractions, and validate each fit in both modes.

    Eight cells, the network's own preprocessing first.
    """
    images = extraction.images
    train, val = (images.rows(split) for split in ("train", "val"))
    y, y_val = images.labels[train], images.labels[val]
    n_classes = len(images.table.classes)
    cells = []
    for trained, embeddings in extraction.embeddings.items():
        head = make_head(name, seed).fit(embeddings[train], y, embeddings[val], y_val)
        on_train = accuracy(y, class_proba(head, embeddings[train], n_classes))
        for by_batch in (False, True):
            seen = extraction.embeddings[Condition(trained.scaling, by_batch)]
            proba = class_proba(head, seen[val], n_classes)
            validated = accuracy(y, class_proba(head, seen[train], n_classes))
            most, is_right = most_predicted(proba), proba.argmax(axis=1) == y_val
            on_val = accuracy(y_val, proba)
            cells.append(
                Cell(trained, by_batch, on_train, on_val, validated, *most, is_right, head.chosen_)
            )
    return cells


def most_predicted(proba: NDArray[np.floating]) -> tuple[int, Estimate]:
    """The class predicted for most images, and their share; of (n_images, n_classes)."""
    counts = np.bincount(proba.argmax(axis=1), minlength=proba.shape[1])
    return int(counts.argmax()), wilson(int(counts.max()), len(proba))


def compare_cells(cells: list[Cell], seed: int) -> dict[str, Comparison]:
    """Measure what each mistake costs, paired on the images of val; p is Holm-corrected for four.

    ``pixels``, ``statistics``: one mistake minus none. ``both``: both mistakes minus none.
    ``switch``: both mistakes minus the same head validated with batch statistics.
    """
    is_right = {cell.key: cell.is_right for cell in cells}
    right = next(cell.key for cell in cells if cell.role == RIGHT)
    origin = (WRONG.name, True, False)
    pairs = {
        "pixels": ((WRONG.name, False, False), right),
        "statistics": ((right[0], True, False), right),
        "both": (origin, right),
        "switch": (origin, (WRONG.name, True, True)),
    }
    found = {
        name: compare_right({"first": is_right[a], "second": is_right[b]}, seed)[0]
        for name, (a, b) in pairs.items()
    }
    return holm_corrected(found)


def table_rows(results: Raw) -> list[tuple[str, ...]]:
    """One row for each cell, in the order of `TITLES`."""
    return [
        (
            each["preprocessing"],
            each["trained"],
            each["validated"],
            percent(estimate(each["train"])),
            percent(estimate(each["val"])),
            f"{100 * each['predicted_share']['value']:.0f} % {each['most_predicted']}",
        )
        for each in results["cells"]
    ]


def table_text(results: Raw) -> str:
    """The table for a terminal."""
    marks = [MARKS[each["role"]] for each in results["cells"]]
    rows = zip(table_rows(results), marks, strict=True)
    table = [(*TITLES, ""), *((*row, f"<- {mark}" if mark else "") for row, mark in rows)]
    return "\n".join(aligned(table))


def footnote(results: Raw) -> str:
    """How to read the table."""
    first, network = results["cells"][0], results["network"]
    return (
        f"n = {first['train']['n']} images of train, {first['val']['n']} of val. Brackets: 95 % "
        f"confidence intervals (Wilson). This network expects {network['scaling']} pixels "
        f"({network['scaling_words']}). BN is BatchNormalization: it uses batch statistics in "
        f"training (here random batches of {results['settings']['batch_size']}) and moving "
        f"statistics in inference. The settings of {results['settings']['head']} were chosen on "
        "val in the mode of training. Differences: paired bootstrap; p by McNemar's exact test "
        "with Holm's correction."
    )


def verdict(results: Raw) -> str:
    """Validation accuracy without and with the two mistakes."""
    right, origin = (estimate(_with_role(results, role)["val"]) for role in (RIGHT, ORIGIN))
    return (
        f"Validation accuracy: {percent(right)} with correct pixels and statistics, "
        f"{percent(origin)} with the two mistakes of the original script (n = {right.n}). Always "
        f"predicting the most frequent class gives {share(results['chance']['value'])}."
    )


def explain_cells(results: Raw) -> list[str]:
    """Describe what the table shows, in short paragraphs."""
    lines = []
    if results["network"]["has_random_weights"]:
        lines = ["RANDOM WEIGHTS: this network was not trained, so the table shows nothing."]
    if _with_role(results, RIGHT)["val"]["low"] <= results["chance"]["value"]:
        return [
            *lines,
            "Without mistakes, too, accuracy is no better than chance, so the other rows mean "
            "nothing. Check weights, number of images and labels first: 'headbench doctor'.",
        ]
    found, origin = results["differences"], _with_role(results, ORIGIN)
    lines.append(
        f"Effect on validation accuracy. Pixels / 255 alone: {_effect(found['pixels'])}; batch "
        f"statistics in training alone: {_effect(found['statistics'])}; both mistakes: "
        f"{_effect(found['both'])}."
    )
    if (predicted := origin["predicted_share"]["value"]) >= COLLAPSED:
        lines.append(
            f"With both mistakes, the head predicts {origin['most_predicted']!r} for "
            f"{share(predicted)} of val."
        )
    if _is_worse(found["switch"]):
        lines.append(_not_overfitting(results, origin))
    if _is_worse(found["both"]):
        return [*lines, "'headbench features' uses correct pixels, and moving statistics only."]
    return [
        *lines,
        "With these images and weights, the two mistakes make no significant difference.",
    ]


def _effect(found: Raw) -> str:
    effect = points(estimate(found["difference"]))
    return effect if found["is_seen"] else f"no significant difference ({effect})"


def _not_overfitting(results: Raw, origin: Raw) -> str:
    key = (WRONG.name, "batch", "batch")
    names = ("preprocessing", "trained", "validated")
    same = next(each for each in results["cells"] if tuple(each[name] for name in names) == key)
    return (
        "This is not overfitting. With batch statistics, the same head reaches "
        f"{percent(estimate(same['val']))} on the same val images; with moving statistics it "
        f"reaches {percent(estimate(origin['train_validated']))} on its own training images. More "
        "images, more Dropout or a smaller head do not help."
    )


def _is_worse(found: Raw) -> bool:
    return bool(found["is_seen"] and found["difference"]["value"] < 0)


def _with_role(results: Raw, role: str) -> Raw:
    return next(each for each in results["cells"] if each["role"] == role)


def estimate(raw: Raw) -> Estimate:
    """An `Estimate` as results hold it."""
    return Estimate(**raw)
