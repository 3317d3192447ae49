"""Progress by tqdm, a bar in a terminal and lines elsewhere; and the slowest stage."""

import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from weakref import WeakSet

from tqdm import tqdm


class Stopwatch:
    """Seconds during which each stage was at work, in one thread or several."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_working: Counter[str] = Counter()
        self._started: dict[str, float] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Count the time spent inside for a stage."""
        with self._lock:
            if self._n_working[stage] == 0:
                self._started[stage] = time.perf_counter()
                self._seconds[stage] += 0  # stages are listed in the order in which they began
            self._n_working[stage] += 1
        try:
            yield
        finally:
            with self._lock:
                self._n_working[stage] -= 1
                if self._n_working[stage] == 0:
                    self._seconds[stage] += time.perf_counter() - self._started[stage]

    def __str__(self) -> str:
        """The seconds of every stage, and which of them was the bottleneck."""
        if not self._seconds:
            return "nothing was measured"
        stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in self._seconds.items())
        slowest = max(self._seconds, key=self._seconds.__getitem__)
        return f"{stages}; the bottleneck is {slowest}"


SECONDS_BETWEEN_LINES = 10.0
BRIEF_SECONDS = 1.0


class _Lines(tqdm):  # type: ignore[misc]
    """tqdm without a terminal: a whole line now and then, and no carriage returns."""

    # Apart from tqdm's own, which `tqdm.write` clears and shows again with every line.
    _instances: ClassVar[WeakSet[Any]] = WeakSet()
    monitor_interval = 0

    def __init__(self, total: int | None, **options: Any) -> None:
        done = "{n_fmt} images so far" if total is None else "{n_fmt} of {total_fmt} images"
        left = "" if total is None else ", {remaining} left"
        super().__init__(
            total=total,
            mininterval=SECONDS_BETWEEN_LINES,
            miniters=1,
            bar_format=f"{{desc}}: {done}, {{rate_noinv_fmt}}{left}{{postfix}}",
            **options,
        )

    def display(self, *_: object, **__: object) -> bool:
        """Write a line, wherever the cursor is."""
        print(" ".join(str(self).split()), file=self.fp, flush=True)
        return True

    def close(self) -> None:
        """End; clear nothing."""
        self.sp = None
        super().close()


class Progress:
    """Images done and total, images per second, time left, rejected so far.

    Nothing is shown for work that takes less than a second. `n_total` is None if it is unknown.
    """

    def __init__(self, what: str, n_total: int | None) -> None:
        bar = tqdm if sys.stderr.isatty() else _Lines
        self._bar = bar(
            total=n_total,
            desc=what,
            unit=" images",
            delay=BRIEF_SECONDS,
            smoothing=0,
            disable=n_total == 0,
        )
        self._what, self._n_rejected = what, 0
        self._started = self._bar.start_t = time.time()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def update(self, n: int = 1) -> None:
        """Count images; those done before come first, and do not count towards the speed."""
        if self._bar.n == 0:
            # A network is loaded before its first images are done: that is not its speed.
            self._bar.start_t, self._bar.initial = time.time(), n
        self._bar.update(n)

    def reread(self) -> None:
        """Count an image that was only read; if it is the first, all time so far was reading."""
        is_first = self._bar.n == 0
        self.update()
        if is_first:
            self._bar.start_t, self._bar.initial = self._started, 0

    def reject(self) -> None:
        """Count an image that cannot be used."""
        self._n_rejected += 1
        self._bar.set_postfix_str(f"{self._n_rejected} rejected", refresh=False)
        self.update()

    def summary(self) -> str:
        """Number of images and seconds; images per second if there were seconds enough."""
        now, bar = time.time(), self._bar
        seconds = now - bar.start_t
        rate = (bar.n - bar.initial) / max(seconds, BRIEF_SECONDS)
        speed = f", {rate:.1f} images/s" if seconds >= BRIEF_SECONDS else ""
        return f"{self._what}: {bar.n} images in {now - self._started:.1f} s{speed}"
