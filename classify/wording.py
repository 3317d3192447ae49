"""Numbers and sentences for people: no more digits than the interval supports."""

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from headbench.cache.format import Identity
from headbench.classify.heads.grid import AT_LIMIT
from headbench.classify.intervals import Estimate

SMALLEST_P = 0.001
MOST_NAMED = 5
# Columns of a terminal that sentences take.
TEXT_WIDTH = 100
END_OF_RANGE = "(end of range)"
# How to search beyond a limit, by the setting that it ended.
BEYOND = {
    "C": "--c-grid",
    "iterations": "--max-iter",
    "rounds": "--max-rounds",
    "epochs": "--max-epochs",
    "epoch": "--epochs",
    "alpha": "alphas in the file of --config",
    "neighbors": "neighbors in the file of --config",
}
# A command in a sentence, and what stays on one line.
COMMAND = re.compile("'((?:headbench|make) .*?)'")
UNBROKEN = re.compile(rf"{COMMAND.pattern}| %|\bn = \d")


def percent(estimate: Estimate | None) -> str:
    """A share and its interval, such as ``54.2 % [49.4, 59.1]``; a dash for None."""
    if estimate is None:
        return "-"
    value, low, high = (100 * number for number in estimate[:3])
    return f"{value:.1f} % [{low:.1f}, {high:.1f}]"


def with_n(estimate: Estimate) -> str:
    """The same for a sentence, such as ``54.2 % (95 % CI 49.4 to 59.1, n = 400)``."""
    value, low, high = (100 * number for number in estimate[:3])
    return f"{value:.1f} % (95 % CI {low:.1f} to {high:.1f}, n = {estimate.n})"


def share(value: float) -> str:
    """A share without an interval, such as ``12.5 %``: an exact count, not an estimate."""
    return f"{100 * value:.1f} %"


def number(estimate: Estimate | None) -> str:
    """A number and its interval, such as ``1.35 [1.24, 1.47]``; a dash for None."""
    if estimate is None:
        return "-"
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def points(difference: Estimate, unit: str = " points") -> str:
    """A difference of shares and its interval, such as ``+3.1 points [+1.2, +5.0]``."""
    # Minus nothing is nothing: adding 0 takes the sign off.
    value, low, high = (100 * number + 0.0 for number in difference[:3])
    return f"{value:+.1f}{unit} [{low:+.1f}, {high:+.1f}]"


def p_value(p: float) -> str:
    """A p value, such as ``p 0.03``; ``p < 0.001`` if it is smaller."""
    return f"p {p:.2g}" if p >= SMALLEST_P else f"p < {SMALLEST_P}"


def seconds(value: float) -> str:
    """A duration, such as ``7.1 s`` or ``204 s``."""
    return f"{value:.1f} s" if value < 100 else f"{value:.0f} s"


def microseconds(value: float) -> str:
    """Seconds as a short duration, such as ``12 µs`` or ``3.1 ms``."""
    if value < 1e-3:
        return f"{1e6 * value:.2g} µs" if value < 1e-5 else f"{1e6 * value:.0f} µs"
    return f"{1e3 * value:.2g} ms" if value < 1e-2 else f"{1e3 * value:.0f} ms"


def n_bytes(value: int) -> str:
    """A size on disk, such as ``82 kB`` or ``94.2 MB``."""
    return f"{value / 1e3:.0f} kB" if value < 1e6 else f"{value / 1e6:.1f} MB"


def count(n: int, noun: str) -> str:
    """A number and what it counts, such as ``1 pair`` or ``3 pairs``."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def some(names: Sequence[str]) -> str:
    """The first 5 names, and how many more there are."""
    n_more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {n_more} more" if n_more > 0 else "")


def listed(names: Sequence[str]) -> str:
    """All names, such as ``a, b and c``."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def describe_pairs(name: str, pairs: Iterable[Any]) -> str:
    """How one thing compares with others; empty if it is the first of no pair.

    The pairs are `headbench.classify.intervals.Comparison`, or have the same attributes.
    """
    better: list[str] = []
    worse: list[str] = []
    same: list[str] = []
    for pair in (each for each in pairs if each.first == name):
        is_ahead = pair.difference.value > 0
        (same if not pair.is_seen else better if is_ahead else worse).append(pair.second)
    phrases = [
        f"is significantly better than {listed(better)}" if better else "",
        f"is significantly worse than {listed(worse)}" if worse else "",
        f"does not differ significantly from {listed(same)}" if same else "",
    ]
    found = ". It ".join(filter(None, phrases))
    return f"{name} {found}." if found else ""


def describe_choice(chosen: Mapping[str, Any]) -> str:
    """Settings in one phrase, such as ``C 0.003, iterations 81``; flags only by their name.

    The first setting is the one that val chose. It is marked if a limit ended the search there.
    """
    phrases = [
        name if value is True else f"not {name}" if value is False else f"{name} {_short(value)}"
        for name, value in chosen.items()
        if name != AT_LIMIT
    ]
    if chosen.get(AT_LIMIT):
        phrases[0] += f" {END_OF_RANGE}"
    return ", ".join(phrases).replace("is_", "").replace("_", " ")


def beyond(chosen: Mapping[str, Any]) -> list[str]:
    """Options that move the limits which ended a search on val; empty if none did.

    `is_at_limit` is about the first setting, `is_converged` about the iterations.
    """
    ended = [next(iter(chosen))] if chosen.get(AT_LIMIT) else []
    ended += ["iterations"] if chosen.get("is_converged") is False else []
    return [BEYOND[name] for name in ended]


def describe_weights(identity: Identity, source: str) -> str:
    """The weights by name and hash, with a warning if they are random."""
    if identity.has_random_weights:
        return f"RANDOM ({identity.weights_hash}): results mean nothing, for demos and tests only"
    if identity.weights_hash == "none":
        return "none"
    name = source.replace("\\", "/").rsplit("/", maxsplit=1)[-1]
    return f"{name} ({identity.weights_hash[:19]}...)"


def _short(value: float) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def wrapped(text: str, first: str = "", later: str = "") -> str:
    """A paragraph as wide as a terminal; commands, ``5 %`` and ``n = 5`` stay on one line.

    Parameters
    ----------
    first, later : str
        What the first line and all later lines begin with.
    """
    filled = textwrap.fill(
        UNBROKEN.sub(lambda found: found[0].replace(" ", "\xa0"), text),
        TEXT_WIDTH,
        initial_indent=first,
        subsequent_indent=later,
        break_on_hyphens=False,
        break_long_words=False,
    )
    return filled.replace("\xa0", " ")


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """A table as text: a line for each row, its cells below those of the row before."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
