"""Cache a frozen network's embeddings once, then train and compare classifier heads in seconds.

::

    import headbench as hb

    run = hb.features("photos", size=96)
    run.heads("logreg", "mlp")
    run.report()
    run.predict(["a.jpg"])

What `__all__` lists is stable. It is imported when it is first used, so that ``import headbench``
and the command's ``--help`` take no time.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headbench.cache.errors import HeadbenchError
    from headbench.cache.reader import FeatureFile
    from headbench.embedder import Embedder
    from headbench.notebook import Run, backbones, compare, doctor, features

_PLACES = {
    "Embedder": "headbench.embedder",
    "FeatureFile": "headbench.cache.reader",
    "HeadbenchError": "headbench.cache.errors",
    "Run": "headbench.notebook",
    "backbones": "headbench.notebook",
    "compare": "headbench.notebook",
    "doctor": "headbench.notebook",
    "features": "headbench.notebook",
}
__all__ = [
    "Embedder",
    "FeatureFile",
    "HeadbenchError",
    "Run",
    "backbones",
    "compare",
    "doctor",
    "features",
]

# A library is silent; `headbench.terminal` shows what it logs where a command runs.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
