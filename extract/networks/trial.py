"""The fastest settings of an engine on a GPU: tried on the first batches of a run, and kept.

The settings are the number of images in one call, and whether XLA compiles the network. A trial
loses no work: what it computes are embeddings of the run. Runs of few images end before the trial
does, and so never wait for XLA to compile the network.
``HEADBENCH_CACHE/trials/KEY.json`` holds what was chosen.
"""

import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from headbench.cache.disk import replacing
from headbench.cache.errors import StorageError
from headbench.cache.untrusted import read_json
from headbench.cache.writer import installed_version
from headbench.extract.networks.converted import cache_folder
from headbench.extract.networks.devices import Devices
from headbench.extract.networks.engines import (
    Embeddings,
    Engine,
    Pixels,
    relative_difference,
)
from headbench.extract.networks.keras_runtime import load_tensorflow

LOG = logging.getLogger(__name__)

Infer = Callable[[Pixels], Embeddings]

# The engine's own batch size times these is tried.
FACTORS = (1, 2, 4)
# Calls of a setting that are timed, after one that prepares it.
N_TIMED = 3
# A larger batch takes more memory, and XLA compiles in every run: each has to gain this much.
GAIN_OF_BATCH, GAIN_OF_XLA = 1.03, 1.05
# Images of a run before XLA is used: compiling takes as long as several thousand of them.
XLA_AFTER = 1000
# Largest number of images in one call that a kept choice may name.
MOST_IMAGES = 1 << 16
PACKAGES = ("headbench", "tensorflow", "keras")


@dataclass(frozen=True)
class Setting:
    """Images in one call, and whether XLA compiles the network."""

    batch_size: int
    by_xla: bool = False

    def __str__(self) -> str:
        return f"{'XLA' if self.by_xla else 'no XLA'}, {self.batch_size} images at once"


@dataclass(frozen=True)
class Choice:
    """Where the choice for a network on some devices is kept."""

    path: Path

    @classmethod
    def of(cls, network: Any, precision: str, devices: Devices) -> "Choice":
        """By everything that decides speed: the layers, but not their weights, GPUs, versions."""
        layers = [
            (type(layer).__name__, str(_shape_of(layer)), layer.count_params())
            for layer in network._flatten_layers()
        ]
        versions = {name: installed_version(name) for name in PACKAGES}
        facts = [_describe_gpus(devices), precision, network.input_shape, layers, versions]
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return cls(cache_folder() / "trials" / f"{key}.json")

    def find(self) -> Setting | None:
        """What was chosen in an earlier run; None if nothing was, or if it makes no sense."""
        try:
            found = read_json(self.path)
            setting = Setting(found["batch_size"], found["by_xla"])
            types = (type(setting.batch_size), type(setting.by_xla))
            is_possible = types == (int, bool) and 0 < setting.batch_size <= MOST_IMAGES
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return setting if is_possible else None

    def keep(self, setting: Setting) -> str:
        """Keep a setting; returns what to say about it."""
        try:
            with replacing(self.path, f".{os.getpid()}") as path:
                path.write_text(json.dumps(asdict(setting)), "utf-8", newline="\n")
        except StorageError as error:
            return f"It cannot be kept for the next run ({error})."
        return f"Kept in {self.path}."


def on_trial(
    engine: Engine, choice: Choice, tolerance: float, batch_size: int | None = None
) -> Engine:
    """An engine that runs by the choice that was kept, or else tries settings on its first images.

    Parameters
    ----------
    engine : Engine
        It agrees with the unmodified network.
    tolerance : float
        Largest relative distance of embeddings by XLA from those of `engine`.
    batch_size : int or None
        The only one to try.
    """
    forms = _Forms(engine, tolerance)
    known = choice.find()
    if known is not None and batch_size in (None, known.batch_size):
        return replace(engine, infer=_Chosen(forms, known).infer, batch_size=known.batch_size)
    sizes = [batch_size] if batch_size else [factor * engine.batch_size for factor in FACTORS]
    return replace(engine, infer=Trial(forms, choice, sizes).infer, batch_size=sizes[-1])


class _Forms:
    """The same network without XLA and with it, which is compiled and checked at its first use."""

    def __init__(self, engine: Engine, tolerance: float) -> None:
        self._infer, self._make, self._tolerance = engine.infer, engine.by_xla, tolerance
        self._lock = threading.Lock()
        self._compiled: dict[int, Infer] = {}

    @property
    def have_xla(self) -> bool:
        """Whether XLA may be used: not after it failed, or embeddings differed."""
        return self._make is not None

    def run(self, setting: Setting, images: Pixels) -> Embeddings:
        """Embeddings by a setting; without XLA if it may not be used."""
        size = setting.batch_size
        starts = range(0, len(images), size)
        infer = self._by_xla(images[:size], size) if setting.by_xla else self._infer
        return np.concatenate([infer(images[start : start + size]) for start in starts])

    def _by_xla(self, images: Pixels, size: int) -> Infer:
        with self._lock:
            if self._make is not None and size not in self._compiled:
                self._compile(self._make, images, size)
            return self._compiled.get(size, self._infer)

    def _compile(self, make: Callable[[], Infer], images: Pixels, size: int) -> None:
        expected = self._infer(images)
        try:
            infer = _always(make(), size)
            difference = relative_difference(infer(images), expected)
            why = f"its embeddings differ by {difference:.1e} (relative)"
        except load_tensorflow().errors.ResourceExhaustedError:
            raise
        except Exception as error:  # of many kinds
            difference, why = np.inf, str(error).strip().split("\n", maxsplit=1)[0]
        if difference <= self._tolerance:
            self._compiled[size] = infer
        else:
            LOG.info(f"note: XLA is not used: {why}.")
            self._make = None


def _always(infer: Infer, size: int) -> Infer:
    """Call with as many images each time: XLA would compile each number of them by itself."""

    def run(images: Pixels) -> Embeddings:
        missing = np.repeat(images[-1:], size - len(images), axis=0)
        return infer(np.concatenate([images, missing]))[: len(images)]

    return run


class _Chosen:
    """Runs images by a setting; the first of a run without XLA, since there may be no more."""

    def __init__(self, forms: _Forms, setting: Setting, n_images: int = 0) -> None:
        self._forms, self._setting, self._n_images = forms, setting, n_images

    def infer(self, images: Pixels) -> Embeddings:
        """Embeddings, float32 (n, dim), of uint8 (n, size_px, size_px, 3), in order."""
        plain = replace(self._setting, by_xla=False)
        self._n_images += len(images)
        if not self._setting.by_xla or self._n_images < XLA_AFTER:
            return self._forms.run(plain, images)
        try:
            return self._forms.run(self._setting, images)
        except load_tensorflow().errors.ResourceExhaustedError:
            # A smaller batch would be filled up, and take as much memory.
            LOG.info(f"out of memory with XLA: continuing with {plain}")
            self._setting = plain
        return self._forms.run(plain, images)


class Trial:
    """Times settings on the images of a run until one is chosen, and runs the others by that.

    Threads may call `infer` at the same time. During the trial one waits for the other.
    """

    def __init__(
        self,
        forms: _Forms,
        choice: Choice,
        sizes: Sequence[int],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._forms, self._choice, self._clock = forms, choice, clock
        self._lock = threading.Lock()
        self._left = [Setting(size) for size in sizes]
        self._rest = _Chosen(forms, self._left[0])
        self._seconds: dict[Setting, list[float]] = {}
        self._n_images = 0

    def infer(self, images: Pixels) -> Embeddings:
        """Embeddings, float32 (n, dim), of uint8 (n, size_px, size_px, 3), in order."""
        waiting: AbstractContextManager[Any] = self._lock if self._left else nullcontext()
        rows = []
        with waiting:
            while self._left and len(images) >= self._left[0].batch_size:
                size = self._left[0].batch_size
                rows.append(self._try(self._left[0], images[:size]))
                images = images[size:]
            if len(images):
                rows.append(self._rest.infer(images))
        return np.concatenate(rows)

    def _try(self, setting: Setting, images: Pixels) -> Embeddings:
        """Time a call; the first call of a setting prepares it, and is not counted."""
        started = self._clock()
        try:
            found = self._forms.run(setting, images)
        except load_tensorflow().errors.ResourceExhaustedError:
            if not self._seconds:
                self._left = []  # with so little memory there is nothing to choose
                raise  # the engine around this one takes smaller batches
            self._seconds.pop(setting, None)
            self._left = self._left[:1]
            self._go_on()
            return self._rest.infer(images)
        tried = self._seconds.setdefault(setting, [])
        tried.append((self._clock() - started) / len(images))
        self._n_images += len(images)
        has_failed = setting.by_xla and not self._forms.have_xla
        if has_failed:
            del self._seconds[setting]
        if has_failed or len(tried) > N_TIMED:
            self._go_on()
        return found

    def _go_on(self) -> None:
        """Take the next setting: after the last one the fastest with XLA; then choose."""
        last, *self._left = self._left
        if self._left:
            return
        medians = {each: median(tried[1:] or tried) for each, tried in self._seconds.items()}
        best = _fastest(medians)
        if self._forms.have_xla and not last.by_xla:
            self._left = [replace(best, by_xla=True)]
            return
        self._rest = _Chosen(self._forms, best, XLA_AFTER)
        tried = ", ".join(f"{each} {1 / medians[each]:.0f} images/s" for each in medians)
        kept = self._choice.keep(best)
        LOG.info(f"{best} (on the first {self._n_images} images: {tried}). {kept}")


def _fastest(seconds: Mapping[Setting, float]) -> Setting:
    """The fastest setting by seconds for an image; of nearly equal ones that of least effort."""
    plain = [each for each in seconds if not each.by_xla]
    least = min(seconds[each] for each in plain)
    best = next(each for each in plain if seconds[each] <= GAIN_OF_BATCH * least)
    compiled = [each for each in seconds if each.by_xla]
    return next((it for it in compiled if GAIN_OF_XLA * seconds[it] <= seconds[best]), best)


def _shape_of(layer: Any) -> Any:
    return getattr(getattr(layer, "output", None), "shape", None)


def _describe_gpus(devices: Devices) -> list[str]:
    """Models of GPUs; of other devices, which tests put in their place, the names."""
    config = load_tensorflow().config
    found = config.list_physical_devices("GPU")
    details = [config.experimental.get_device_details(each) for each in found]
    return [str(sorted(each.items())) for each in details] or list(devices.names)
