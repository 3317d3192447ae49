"""Which stage of an extraction takes longest."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


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

    def seconds(self, stage: str) -> float:
        """The seconds of a stage; 0 if it was never at work."""
        return self._seconds.get(stage, 0.0)

    def __str__(self) -> str:
        """The seconds of every stage, and which of them was the bottleneck."""
        if not self._seconds:
            return "nothing was measured"
        stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in self._seconds.items())
        slowest = max(self._seconds, key=self._seconds.__getitem__)
        return f"{stages}; the bottleneck is {slowest}"
