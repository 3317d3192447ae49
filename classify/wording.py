"""Numbers as people read them: no more digits than the interval can bear."""

from collections.abc import Mapping
from typing import Any

from cache.fingerprint import Identity
from classify.bootstrap import Estimate


def percent(estimate: Estimate | None) -> str:
    """A share and its interval, such as ``54.2 % [49.4, 59.1]``; a dash for None."""
    if estimate is None:
        return "-"
    value, low, high = (100 * number for number in estimate[:3])
    return f"{value:.1f} % [{low:.1f}, {high:.1f}]"


def number(estimate: Estimate) -> str:
    """A number and its interval, such as ``1.35 [1.24, 1.47]``."""
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def points(difference: Estimate) -> str:
    """A difference of shares and its interval, such as ``+3.1 points [+1.2, +5.0]``."""
    value, low, high = (100 * number for number in difference[:3])
    return f"{value:+.1f} points [{low:+.1f}, {high:+.1f}]"


def seconds(value: float) -> str:
    """A duration, such as ``7.1 s`` or ``204 s``."""
    return f"{value:.1f} s" if value < 100 else f"{value:.0f} s"


def describe_choice(chosen: Mapping[str, Any]) -> str:
    """Settings in one phrase, such as ``C 0.003, iterations 81``; flags only by their name."""
    phrases = [
        name if value is True else f"not {name}" if value is False else f"{name} {_short(value)}"
        for name, value in chosen.items()
    ]
    return ", ".join(phrases).replace("is_", "").replace("_", " ")


def describe_weights(identity: Identity, source: str) -> str:
    """The weights by name and hash; says plainly when they are random."""
    if identity.has_random_weights:
        return f"RANDOM ({identity.weights_hash}): this network knows nothing; for demos and tests"
    if identity.weights_hash == "none":
        return "none"
    name = source.replace("\\", "/").rsplit("/", maxsplit=1)[-1]
    return f"{name} ({identity.weights_hash[:19]}...)"


def _short(value: float) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
