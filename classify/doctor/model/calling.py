"""Calls of a model of a stranger, which may fail in any way."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cache.errors import HeadbenchError
from classify.errors import RunError
from extract.keras_runtime import quiet_keras

WAY_OUT = (
    "Expected a model that takes a batch of any number of images: try model.predict and model.fit "
    "on them, and name their size if it takes any (--script-settings size=224)."
)
# Colours, and the names of TensorFlow's own functions.
_NOISE = re.compile(r"\x1b\[\d*m|\{\{.*?\}\} ?")


@contextmanager
def calling(path: Path) -> Iterator[None]:
    """Name the file when its model fails; Keras and TensorFlow raise errors of many kinds.

    Keras' warnings are of how the model was written, and not ours to print.
    """
    try:
        with quiet_keras():
            yield
    except HeadbenchError:
        raise
    except Exception as error:
        said = f"{path}: was loaded, but fails when it is run ({reason_of(error)}). {WAY_OUT}"
        raise RunError(said) from error


def reason_of(error: Exception) -> str:
    """What an error of Keras says, in a line: where it arose, and the first line of why."""
    lines = [line.strip() for line in _NOISE.sub("", str(error)).splitlines()]
    return " ".join([line for line in lines if line][:2]) or type(error).__name__
