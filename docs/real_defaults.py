"""For the reference: what a default is, and not the name that it is read from."""

from importlib import import_module
from typing import Any

import griffe


class RealDefaults(griffe.Extension):
    """Shows ``size: int = 224`` for ``size: int = _DEFAULT.size_px``."""

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Replace the defaults that are read from a private name."""
        for parameter in func.parameters:
            if str(parameter.default).startswith("_"):
                names = vars(import_module(func.module.path))
                parameter.default = repr(eval(str(parameter.default), names))  # noqa: S307, our own
