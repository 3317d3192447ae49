"""What a project of the zoo is: files in a folder, and what the doctor has to say of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from headbench.classify.doctor.examine import examine, sort_targets
from headbench.classify.doctor.finding import Diagnosis
from headbench.classify.doctor.script import parse_script


@dataclass(frozen=True)
class Case:
    """A project on disk: what a user would name on the command line."""

    targets: list[Path]
    script: list[str] = field(default_factory=list)

    def examine(self) -> Diagnosis:
        """As ``python -m headbench.classify doctor`` does."""
        script = parse_script(self.script)
        return examine(sort_targets(self.targets), script)


@dataclass(frozen=True)
class Project:
    """One planted fault, or none.

    Attributes
    ----------
    name : str
        What is wrong with it, or what kind of sound project it is.
    make : callable
        Takes an empty folder and the folder of real photographs and weights.
    code : str or None
        Of the finding that must be there, as a warning or worse; None for a sound one.
    too : frozenset of str
        Of the other findings that must be there.
    also : frozenset of str
        What else may be severe because of the fault.
    """

    name: str
    make: Callable[[Path, Path], Case]
    code: str | None = None
    also: frozenset[str] = frozenset()
    too: frozenset[str] = frozenset()
