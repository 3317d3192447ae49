"""How many cores a fit may use: all of them, or its share where fits run side by side."""

from collections.abc import Iterator
from contextlib import contextmanager

import joblib
from threadpoolctl import threadpool_limits

# Of the whole process, since the threads that fit are started inside `shared_by`.
_N_FITS: list[int] = [1]


def n_cores() -> int:
    """Cores that one fit may use, at least 1."""
    cores: int = joblib.cpu_count()
    return max(1, cores // _N_FITS[-1])


@contextmanager
def shared_by(n_fits: int) -> Iterator[None]:
    """Share the cores among so many fits at a time: threads of all would wait for each other.

    BLAS obeys it here; LightGBM is told by its head.
    """
    _N_FITS.append(n_fits)
    try:
        with threadpool_limits(n_cores(), "blas"):
            yield
    finally:
        _N_FITS.pop()
