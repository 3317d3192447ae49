"""Calls to stores far away: repeated while that may help, and told from those where it cannot."""

import random
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import TypeVar

from extract.sources.addresses import without_secrets

Result = TypeVar("Result")

N_TRIES = 4
# Before the second try, and twice as long before each further one; half as much to half as much
# again, so that many that failed together do not come back together.
PAUSE_SECONDS = 0.5
# Libraries repeat calls too, and may take long over it: no other try after so many seconds.
PATIENCE_SECONDS = 60.0
# What a second try does not change.
LASTING = (
    FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, NotImplementedError,
    ValueError, TypeError, LookupError, EOFError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
# Of the statuses that blame the request (4xx), those that ask for patience: timeout, too early, too
# many requests.
PASSING_STATUSES = (408, 425, 429)


def patiently(call: Callable[[], Result]) -> Result:
    """Call something that may fail for a while; its last error if it does not get better."""
    impatient_at = time.monotonic() + PATIENCE_SECONDS
    for number in range(N_TRIES - 1):
        try:
            return call()
        except Exception as error:  # each store has errors of its own
            if is_lasting(error) or time.monotonic() > impatient_at:
                raise
        pause(PAUSE_SECONDS * 2**number)
    return call()


def pause(seconds: float) -> None:
    """Wait about so long."""
    time.sleep(seconds * random.uniform(0.5, 1.5))  # noqa: S311, no secret


def is_lasting(error: BaseException) -> bool:
    """Whether a call that failed so will fail again: what is not there or not allowed stays so."""
    if isinstance(error, TimeoutError):
        return False
    status = _http_status(error)
    is_refused = 400 <= status < 500 and status not in PASSING_STATUSES
    return is_refused or isinstance(error, LASTING)


def words(error: BaseException) -> str:
    """What an error says, in one line and without secrets."""
    said = without_secrets(str(error).split("\n", maxsplit=1)[0])
    return said or ("no answer" if isinstance(error, TimeoutError) else type(error).__name__)


def _http_status(error: BaseException) -> int:
    """Of the answer that an error is about, wherever its library keeps it; 0 if it is of none."""
    for each in (error, error.__cause__):
        response = getattr(each, "response", None)
        if isinstance(response, Mapping):  # botocore's
            return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        for name in ("status", "status_code", "code"):
            if isinstance(status := getattr(each, name, None), int):
                return status
    return 0
