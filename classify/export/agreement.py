"""How much of predict an export keeps on images of test: agreement, accuracy, size, time."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from headbench.cache.progress import Progress
from headbench.classify.errors import RunError
from headbench.classify.export.export_formats import FORMATS
from headbench.classify.export.quantization import sampled_images
from headbench.classify.intervals import Estimate, compare_right, wilson
from headbench.classify.report.opened_run import OpenedRun
from headbench.classify.wording import n_bytes, percent, points

N_MEASURED = 200


class Agreement(NamedTuple):
    """One format against predict, on the same images of test.

    Attributes
    ----------
    n_bytes : int
        Of the file.
    agreement : Estimate
        Share of images that get the same class. Interval: Wilson.
    accuracy : Estimate
        Of the format. Interval: Wilson.
    loss : Estimate
        Accuracy of predict minus that of the format. Interval: paired bootstrap.
    milliseconds : float
        Processor time for an image, one at a time in one thread of this machine: the median.
    """

    n_bytes: int
    agreement: Estimate
    accuracy: Estimate
    loss: Estimate
    milliseconds: float

    def __str__(self) -> str:
        return (
            f"{n_bytes(self.n_bytes)}, agreement {percent(self.agreement)}, accuracy "
            f"{percent(self.accuracy)}, loss {points(self.loss)}, {self.milliseconds:.2g} ms an "
            f"image, n = {self.accuracy.n}"
        )


def measure_agreement(written: Mapping[str, Path], opened: OpenedRun) -> dict[str, Agreement]:
    """Measure the formats that run an image at a time, in turns.

    Predict is represented by the probabilities of test that were kept when the head was trained,
    for the files whose content is still the same.

    Raises
    ------
    RunError
        Also if LiteRT cannot run a file.
    """
    calls = {name: opener(path) for name, path in written.items() if (opener := FORMATS[name].open)}
    if not calls:
        return {}
    y, used = opened.y_test, list[int]()
    found: dict[str, list[int]] = {name: [] for name in calls}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    with Progress("measure", min(N_MEASURED, len(y))) as progress:
        for row, _, image in sampled_images(opened, "test", N_MEASURED):
            used.append(row)
            for name, call in calls.items():
                start = time.thread_time()
                found[name].append(int(call(image[np.newaxis])[0].argmax()))
                seconds[name].append(time.thread_time() - start)
            progress.update()
    if not used:
        return {}
    y, predicted, n = y[used], opened.shown.test[used].argmax(axis=1), len(used)
    measured = {}
    for name, labels in found.items():
        same, right = np.array(labels) == predicted, np.array(labels) == y
        [pair] = compare_right({"predict": predicted == y, "format": right})
        measured[name] = Agreement(
            written[name].stat().st_size,
            wilson(int(same.sum()), n),
            wilson(int(right.sum()), n),
            pair.difference,
            1e3 * float(np.median(seconds[name])),
        )
    return measured


def require_small_loss(measured: Mapping[str, Agreement], max_loss: float) -> None:
    """Raise `RunError` if a format loses more than `max_loss` points of accuracy on its images.

    The estimate decides, not its interval: of a few hundred images, the interval is wider than any
    loss that one would accept.
    """
    for name, each in measured.items():
        lost = 100 * each.loss.value
        if lost <= max_loss or FORMATS[name].is_exact:
            continue
        raise RunError(
            f"{FORMATS[name].file}: expected a loss of at most {max_loss:g} points of accuracy "
            f"against predict, found {points(each.loss)} (accuracy {percent(each.accuracy)}, "
            f"agreement {percent(each.agreement)}, {each.loss.n} images of test). Nothing was "
            "written. Try a format with less rounding (tflite-float16, or one in float32), or "
            f"another network. Or allow it with --max-loss {np.ceil(lost):.0f}."
        )
