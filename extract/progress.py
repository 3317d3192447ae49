"""A progress bar in a terminal, lines elsewhere, and which stage is the bottleneck."""

import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from tqdm import tqdm


class Stopwatch:
    """Seconds in which a stage was at work, in one thread or several: never more than passed."""

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
                self._seconds[stage] += 0  # stages are told in the order in which they began
            self._n_working[stage] += 1
        try:
            yield
        finally:
            with self._lock:
                self._n_working[stage] -= 1
                if self._n_working[stage] == 0:
                    self._seconds[stage] += time.perf_counter() - self._started[stage]

    def __str__(self) -> str:
        """Every stage and its seconds, and which of them held up the others."""
        if not self._seconds:
            return "nothing was measured"
        stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in self._seconds.items())
        slowest = max(self._seconds, key=self._seconds.__getitem__)
        return f"{stages}; the bottleneck is {slowest}"


SECONDS_BETWEEN_LINES = 10.0
BRIEF_SECONDS = 1.0


class Progress:
    """Images done and total, how many per second, time left, rejected so far.

    Nothing at all is shown of what is over in a second.

    Parameters
    ----------
    what : str
        What is being done.
    n_total : int or None
        How often, if all goes well; None where nobody knows.
    """

    def __init__(self, what: str, n_total: int | None) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=n_total,
            desc=what,
            unit=" images",
            delay=BRIEF_SECONDS,
            disable=n_total == 0 or not self._is_terminal,
        )
        self._what, self._n_total = what, n_total
        self._n_done = self._n_rejected = 0
        self._started = self._last_line = time.monotonic()
        self._first = (self._started, 0)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.close()

    def update(self, n: int = 1) -> None:
        """Count what is done; what was done before comes first, and does not count as speed."""
        if self._n_done == 0:
            # A network is loaded before its first images are done: not a matter of speed.
            self._first = (time.monotonic(), n)
        self._n_done += n
        self._bar.update(n)
        self._print_line_if_due()

    def reread(self) -> None:
        """Count an image that was only read; if it comes first, all seconds went into reading."""
        is_first = self._n_done == 0
        self.update()
        if is_first:
            self._first = (self._started, 0)

    def reject(self) -> None:
        """Count an image that is done with because it cannot be used."""
        self._n_rejected += 1
        self._bar.set_postfix_str(f"{self._n_rejected} rejected", refresh=False)
        self.update()

    def summary(self) -> str:
        """How many images took how long; how many a second, where that took long enough to say."""
        now, (since, _) = time.monotonic(), self._first
        speed = f", {self._rate():.1f} images/s" if now - since >= BRIEF_SECONDS else ""
        return f"{self._what}: {self._n_done} images in {now - self._started:.1f} s{speed}"

    def _rate(self) -> float:
        """Images per second since the first were done; 0 as long as no others are."""
        since, n_first = self._first
        return (self._n_done - n_first) / max(time.monotonic() - since, 1e-9)

    def _print_line_if_due(self) -> None:
        now = time.monotonic()
        if not self._is_terminal and now - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = now
            sys.stderr.write(f"{self}\n")
            sys.stderr.flush()

    def __str__(self) -> str:
        rate = self._rate()
        rejected = f", {self._n_rejected} rejected" if self._n_rejected else ""
        if self._n_total is None:
            return f"{self._what}: {self._n_done} images so far, {rate:.1f} images/s{rejected}"
        left = tqdm.format_interval((self._n_total - self._n_done) / rate) if rate else "?"
        done = f"{self._n_done} of {self._n_total} images"
        return f"{self._what}: {done}, {rate:.1f} images/s, {left} left{rejected}"
