import zipfile
from collections.abc import Iterator

import pytest

from extract.sources import patience
from extract.sources.patience import N_TRIES, is_lasting, patiently, words


class StatusError(Exception):
    """As HTTP libraries have them."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


class ResponseError(Exception):
    """As botocore has them."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


def caused_by(status: int) -> OSError:
    error = OSError(22, "Invalid")
    error.__cause__ = ResponseError(status)
    return error


LASTING = [
    FileNotFoundError(), PermissionError(), ValueError(), KeyError(), zipfile.BadZipFile(),
    StatusError(401), StatusError(404), ResponseError(400), caused_by(400),
]  # fmt: skip
PASSING = [
    OSError(), ConnectionResetError(), TimeoutError(), RuntimeError(), StatusError(500),
    StatusError(503), StatusError(429), StatusError(408), ResponseError(503), caused_by(500),
]  # fmt: skip


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    made: list[float] = []
    monkeypatch.setattr(patience, "pause", made.append)
    return made


def failing(*errors: Exception) -> Iterator[str]:
    yield from errors
    yield "done"


def call_each(outcomes: Iterator) -> object:
    def call() -> object:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return patiently(call)


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_what_stays_so_is_not_tried_again(error: Exception, pauses: list[float]) -> None:
    assert is_lasting(error)
    with pytest.raises(type(error)):
        call_each(failing(error))
    assert pauses == []


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_may_pass_is_tried_again(error: Exception, pauses: list[float]) -> None:
    assert not is_lasting(error)
    assert call_each(failing(*[error] * (N_TRIES - 1))) == "done"
    assert len(pauses) == N_TRIES - 1
    with pytest.raises(type(error)):
        call_each(failing(*[error] * N_TRIES))


def test_pauses_grow_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[float] = []
    monkeypatch.setattr(patience.time, "sleep", made.append)
    for _ in range(20):
        call_each(failing(OSError(), OSError()))
    first, second = made[::2], made[1::2]
    assert len(set(first)) > 10
    assert 0.25 <= min(first) <= max(first) <= 0.75
    assert 0.5 <= min(second) <= max(second) <= 1.5


def test_no_try_begins_when_patience_is_over(
    pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", -1.0)
    with pytest.raises(TimeoutError):
        call_each(failing(TimeoutError()))
    assert pauses == []


def test_words_are_one_line_whatever_an_error_says() -> None:
    assert words(OSError("first\nsecond")) == "first"
    assert words(TimeoutError()) == "no answer"
    assert words(RuntimeError()) == "RuntimeError"
    assert words(OSError("GET http://a:b@host/x?X-Amz-Signature=c")) == "GET http://...@host/x?..."
