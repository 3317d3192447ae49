"""Progress of a step that takes long, as a bar or as lines."""

import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, TypeVar
from weakref import WeakSet

from tqdm import TqdmWarning, tqdm

SECONDS_BETWEEN_LINES = 10.0
BRIEF_SECONDS = 1.0
IMAGES = "images"
UNKNOWN = re.compile(r", \? (images/s|left)")

Result = TypeVar("Result")

_IS_SHOWN: ContextVar[bool] = ContextVar("is_shown", default=False)
_PART_OF: ContextVar[str] = ContextVar("part_of", default="")


@contextmanager
def part_of(name: str) -> Iterator[None]:
    """Put a name before all progress inside: a head that is fitted does not know its own."""
    token = _PART_OF.set(f"{name} ")
    try:
        yield
    finally:
        _PART_OF.reset(token)


@contextmanager
def showing_progress(is_shown: bool = True) -> Iterator[None]:
    """Show progress inside; elsewhere, such as where headbench is a library, there is none.

    Threads that are started inside show none either: their work is part of what is shown already.
    """
    token = _IS_SHOWN.set(is_shown)
    try:
        yield
    finally:
        _IS_SHOWN.reset(token)


class Progress:
    """How much of a step is done, and how long the rest will take.

    It is shown inside `showing_progress` only: in a terminal as a bar, in a notebook as the
    notebook's own bar after a second, elsewhere as a line every ten seconds. No bar is left behind.

    Parameters
    ----------
    what : str
        The step.
    n_total : int or None
        None if unknown; more may be done than was expected.
    unit : str
        What is counted, plural. Of images, the speed is shown too.
    """

    def __init__(self, what: str, n_total: int | None, unit: str = IMAGES) -> None:
        self._what, self._n_done, self._n_rejected = what, 0, 0
        self._started = self._since = time.time()
        self._n_before = 0
        self._is_of_images = unit == IMAGES
        is_shown = _IS_SHOWN.get() and n_total != 0
        bar_class = _bar_class() if is_shown else _Lines
        self._delay = 0.0 if bar_class is _Bar else BRIEF_SECONDS
        self._bar = bar_class(
            desc=_PART_OF.get() + what,
            total=n_total,
            unit=f" {unit}",
            bar_format=_bar_format(n_total, unit),
            delay=self._delay,
            smoothing=0,
            # Else, after many quick ones, a slow one would not be shown.
            miniters=1,
            dynamic_ncols=True,
            leave=False,
            disable=not is_shown,
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        # Of a step that ended early, a notebook would keep the bar, in red.
        self._bar.total = self._bar.n
        # A line that was written meanwhile shows a bar before its time: clear it all the same.
        self._bar.start_t = self._bar.delay = 0
        self._bar.close()

    def update(self, n: int = 1) -> None:
        """Count what is done."""
        if self._n_done == 0:
            self._since, self._n_before = time.time(), n
        if self._n_done or self._is_of_images:
            self._count_from_first()
        self._n_done += n
        if self._bar.total is not None:
            self.expect(max(self._bar.total, self._n_done))
        self._bar.update(n)

    def counting(self, function: Callable[..., Result]) -> Callable[..., Result]:
        """The same function, each call of which is one more that is done."""

        def counted(*arguments: Any) -> Result:
            result = function(*arguments)
            self.update()
            return result

        return counted

    def expect(self, n_total: int) -> None:
        """Change how much there is to do."""
        self._bar.total = n_total

    def reread(self) -> None:
        """Count an image that was only read; if it is the first, all time so far was reading."""
        is_first = self._n_done == 0
        self.update()
        if is_first:
            self._since, self._n_before = self._started, 0

    def reject(self) -> None:
        """Count an image that cannot be used."""
        self._n_rejected += 1
        self._bar.set_postfix_str(f"{self._n_rejected} rejected", refresh=False)
        self.update()

    def summary(self) -> str:
        """Number of images and seconds; images per second if there were seconds enough."""
        now = time.time()
        seconds = now - self._since
        rate = (self._n_done - self._n_before) / max(seconds, BRIEF_SECONDS)
        speed = f", {rate:.1f} images/s" if seconds >= BRIEF_SECONDS else ""
        return f"{self._what}: {self._n_done} images in {now - self._started:.1f} s{speed}"

    def _count_from_first(self) -> None:
        """Let the bar estimate speed and time left from the first update on.

        The first images come once the network is loaded: until the next ones nothing is known. Of
        other units the first one takes about as long as any.
        """
        self._bar.start_t, self._bar.initial = self._since, self._n_before
        shown_from = self._delay + (self._since if self._is_of_images else self._started)
        # Not 0: a notebook shows no bar then.
        self._bar.delay = max(shown_from - self._since, 1e-9)


class _Bar(tqdm):  # type: ignore[misc]
    """tqdm without what it does not know yet."""

    def __str__(self) -> str:
        return UNKNOWN.sub("", super().__str__())


class _Lines(_Bar):
    """tqdm where there is no terminal: now and then a whole line, and no carriage returns."""

    # Apart from tqdm's own, which `tqdm.write` clears and shows again with every line.
    _instances: ClassVar[WeakSet[Any]] = WeakSet()
    monitor_interval = 0

    def __init__(self, bar_format: str, **options: Any) -> None:
        plain = bar_format.replace(" {bar}", "")
        super().__init__(mininterval=SECONDS_BETWEEN_LINES, bar_format=plain, **options)

    def display(self, *_: object, **__: object) -> bool:
        """Write a line, wherever the cursor is; what is done needs none."""
        if self.n != self.total:
            print(" ".join(str(self).split()), file=self.fp, flush=True)
        return True

    def close(self) -> None:
        """End; nothing is cleared."""
        self.sp = None
        super().close()


def draws_bars() -> bool:
    """Whether progress is shown as bars, in a terminal or a notebook."""
    return _IS_SHOWN.get() and _bar_class() is not _Lines


def _bar_class() -> Any:
    if sys.stderr.isatty():
        return _Bar
    if "ipykernel" in sys.modules:
        with warnings.catch_warnings():
            # Without ipywidgets the bars are of text, and tqdm's advice names a file of its own.
            warnings.simplefilter("ignore", TqdmWarning)
            # Imported here: only a notebook needs it.
            from tqdm.auto import tqdm as of_notebook

        return of_notebook
    return _Lines


def _bar_format(n_total: int | None, unit: str) -> str:
    speed = ", {rate_noinv_fmt}" if unit == IMAGES else ""
    if n_total is None:
        return f"{{desc}}: {{n_fmt}} {unit} so far{speed}{{postfix}}"
    done = f"{{desc}}: {{bar}} {{n_fmt}} of {{total_fmt}} {unit}"
    return f"{done}{speed}, {{remaining}} left{{postfix}}"
