"""Heads and their settings: defaults, then a TOML file, then the command line; the last wins."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headbench.cache.untrusted import read_regular
from headbench.classify.errors import RunError
from headbench.classify.heads.registry import HEADS, VOTE, create_head, parameters
from headbench.extract.workers.machines import Machines

if TYPE_CHECKING:
    from headbench.classify.heads.head import Head

DEFAULT_SEED = 0
# Options whose name differs from that of the parameter.
OPTION_NAMES = {"c_grid": "cs"}
SETTINGS = ("seed", "refit", "stream")
AUTO, ALWAYS, NEVER = STREAM = ("auto", "always", "never")


@dataclass(frozen=True)
class TrainSettings:
    """What a user may choose besides the heads and the seed.

    Attributes
    ----------
    common : mapping
        Parameters, set in every head that has them.
    by_head : mapping of str to mapping
        Parameters of one head. A new name needs ``kind``: the head that it stands for.
    refit : bool
        Fit again on train and val together, with what val chose.
    again : bool
        Train a head even if it would be reused.
    stream : {"auto", "always", "never"}
        Whether embeddings are streamed from the file; auto: if they do not fit in memory.
    machines : Machines
        The processes or machines that sum streamed embeddings.
    are_named : bool
        Whether the user named the heads. Then one that cannot be trained is an error; otherwise
        it is left out, and a line says so.
    """

    common: Mapping[str, Any] = field(default_factory=dict)
    by_head: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    refit: bool = False
    again: bool = False
    stream: str = AUTO
    machines: Machines = field(default_factory=Machines)
    are_named: bool = True


def configured_heads(names: Sequence[str], seed: int, settings: TrainSettings) -> "dict[str, Head]":
    """Heads by name with their settings, not fitted yet.

    Raises
    ------
    RunError
        For an unknown head, a parameter that it does not have, or a value out of range.
    """
    heads = {name: _configured(name, seed, settings) for name in dict.fromkeys(names)}
    for parameter in settings.common:
        if not any(parameter in head.get_params(deep=False) for head in heads.values()):
            raise RunError(
                f"{parameter}: expected a head that has this setting, found {', '.join(heads)}."
            )
    return heads


def check_settings(names: Iterable[str]) -> None:
    """Raise `RunError` for the first name that is no setting of any head."""
    known = sorted(parameters() - {"seed"} | set(OPTION_NAMES))
    for name in names:
        if name not in known:
            raise RunError(f"unknown setting {name!r}: expected one of {', '.join(known)}.")


def combine(
    given: Mapping[str, Any],
    path: Path | None,
    machines: Machines = Machines(),  # noqa: B008, it is frozen
) -> tuple[list[str], int, TrainSettings]:
    """Names, seed and settings from what was given on the command line and a TOML file.

    Parameters
    ----------
    given : mapping
        Options of the command line, by their names with underscores; they override the file.
    path : Path or None
        ``heads``, ``seed``, ``refit``, ``stream``, parameters for all heads, a table for each head.

    Raises
    ------
    RunError
        If the file cannot be read, or holds a setting that no head has.
    """
    file = read_toml(path) if path else {}
    by_head = {name: value for name, value in file.items() if isinstance(value, dict)}
    flat = {name: value for name, value in file.items() if name not in by_head}
    merged = {**flat, **{OPTION_NAMES.get(key, key): value for key, value in given.items()}}
    for name in set(flat) - parameters() - {"heads", *SETTINGS}:
        raise RunError(f"{path}: {name!r} is not a setting of any head.")
    names = merged.get("heads", [*HEADS, *(name for name in by_head if name not in HEADS)])
    for name in by_head.keys() - set(names):
        raise RunError(
            f"{path}: has settings for {name!r}, which is not among the heads to train. Add it to "
            "the heads, or remove its settings."
        )
    seed = merged.get("seed", DEFAULT_SEED)
    checks = {
        "heads": (
            isinstance(names, list) and all(isinstance(each, str) for each in names),
            "a list of names",
        ),
        "seed": (isinstance(seed, int) and seed >= 0, "a whole number from 0 on"),
        "stream": (merged.get("stream", AUTO) in STREAM, f"one of {', '.join(STREAM)}"),
        "refit": (isinstance(merged.get("refit", False), bool), "true or false"),
    }
    for name, (is_right, expected) in checks.items():
        if not is_right:
            raise RunError(f"{path}: {name}: expected {expected}, found {merged[name]!r}.")
    common = {key: value for key, value in merged.items() if key in parameters() and key != "seed"}
    more = {key: merged[key] for key in ("refit", "again", "stream") if key in merged}
    settings = TrainSettings(
        common=common, by_head=by_head, machines=machines, are_named="heads" in merged, **more
    )
    return names, seed, settings


def read_toml(path: Path) -> dict[str, Any]:
    """A file of settings: ``heads``, ``seed``, ``refit``, common parameters, a table for each head.

    Raises
    ------
    RunError
        If the file cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(read_regular(path).decode())
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: expected valid TOML, found an error: {error}.") from error


def _configured(name: str, seed: int, settings: TrainSettings) -> "Head":
    own = dict(settings.by_head.get(name, {}))
    kind = str(own.pop("kind", name))
    if kind == VOTE and (name != VOTE or own):
        raise RunError(f"{name}: a vote must be called {VOTE!r}, and it has no settings.")
    head = create_head(kind, seed)
    parameters = head.get_params(deep=False)
    for parameter in own:
        if parameter not in parameters:
            known = ", ".join(parameters) or "none"
            raise RunError(
                f"{name}: {parameter!r} is not one of its settings. It has these: {known}."
            )
    common = {key: value for key, value in settings.common.items() if key in parameters}
    head.set_params(**{**common, **own})
    try:
        head.check_parameters()
    except ValueError as error:
        raise RunError(f"{name}: {error}.") from error
    return head
