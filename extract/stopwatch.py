"""How long each stage of a pipeline is at work, whichever threads it works in."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


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
