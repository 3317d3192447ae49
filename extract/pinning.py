"""A GPU of its own for each process of a machine."""

import os
import tempfile
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

from extract.devices import NVIDIA_GPUS

# A lock is let go with its object: these live as long as the process.
_HELD: list[FileLock] = []


@cache
def pin_gpu() -> int | None:
    """Take a GPU of this machine for this process, before TensorFlow is imported.

    Returns
    -------
    int or None
        Which; None where there are none, or somebody has chosen already (CUDA_VISIBLE_DEVICES).
    """
    n_gpus = len(list(NVIDIA_GPUS.glob("*")))
    if "CUDA_VISIBLE_DEVICES" in os.environ or not n_gpus:
        return None
    # More processes than GPUs: they share.
    taken = next(filter(_take, range(n_gpus)), os.getpid() % n_gpus)
    os.environ["CUDA_VISIBLE_DEVICES"] = str(taken)
    return taken


def _take(number: int) -> bool:
    """Hold a lock for as long as this process lives; whoever has it has the GPU."""
    path = Path(tempfile.gettempdir()) / f"headbench-gpu-{os.getuid()}-{number}.lock"
    lock = FileLock(path, mode=0o600)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    _HELD.append(lock)
    return True
