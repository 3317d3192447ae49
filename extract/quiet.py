"""Pillow speaks of odd files in three ways; what matters of it is a reason here."""

import ctypes
import logging
import warnings

from PIL import _imaging


def silence_pillow() -> None:
    """Keep decoders from writing among the lines and bars of a run; once is enough.

    All three for the whole process, because files are decoded side by side and none of them is a
    thread's own: not the filters of `warnings.catch_warnings` either.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    # libtiff writes to standard error by itself. Its switch is found through Pillow's own module,
    # which is linked to it; where it is not found, libtiff goes on talking and no harm is done.
    libraries = ctypes.CDLL(_imaging.__file__)
    for switch in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        if hasattr(libraries, switch):
            getattr(libraries, switch)(None)
