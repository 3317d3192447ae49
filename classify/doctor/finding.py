"""What an examination finds: what is wrong, how that is known, and what to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple


class Severity(IntEnum):
    """How bad it is.

    SEVERE: the numbers are wrong, or no classifier comes of it, until it is mended.
    WARNING: it costs accuracy, or may well.
    NOTE: worth knowing; also what could not be looked at, and why.
    """

    NOTE = 0
    WARNING = 1
    SEVERE = 2

    @property
    def word(self) -> str:
        """In small letters."""
        return self.name.lower()


class Photo(NamedTuple):
    """An image file to look at.

    Attributes
    ----------
    path : Path
    caption : str
    """

    path: Path
    caption: str


class Grid(NamedTuple):
    """Numbers as a table.

    Attributes
    ----------
    columns : tuple of str
    rows : tuple of tuple of str
        The first cell names the row.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes
    ----------
    code : str
        A stable name, such as ``wrong-scaling``.
    severity : Severity
    what : str
        What is wrong, in a sentence.
    evidence : tuple of str
        How that is known: numbers with their n, names of files.
    remedy : str
        What to do.
    grid : Grid or None
    photos : tuple of Photo
        The worst first; the page shows some.
    """

    code: str
    severity: Severity
    what: str
    evidence: tuple[str, ...] = ()
    remedy: str = ""
    grid: Grid | None = None
    photos: tuple[Photo, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "code": self.code,
            "severity": self.severity.word,
            "what": self.what,
            "evidence": list(self.evidence),
            "remedy": self.remedy,
            "grid": self.grid and {"columns": self.grid.columns, "rows": self.grid.rows},
            "photos": [{"path": str(each.path), "caption": each.caption} for each in self.photos],
        }


class Examination(NamedTuple):
    """What one part of the examination gave.

    Attributes
    ----------
    examined : str
        What was looked at, in a sentence with its numbers.
    findings : list of Finding
    """

    examined: str
    findings: list[Finding]


@dataclass(frozen=True)
class Diagnosis:
    """All that was found.

    Attributes
    ----------
    examined : tuple of str
    findings : tuple of Finding
        The most severe first.
    """

    examined: tuple[str, ...]
    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, examinations: Iterable[Examination]) -> "Diagnosis":
        """Put the most severe findings first, and else keep the order."""
        done = list(examinations)
        findings = [finding for each in done for finding in each.findings]
        findings.sort(key=lambda finding: -finding.severity)
        return cls(tuple(each.examined for each in done), tuple(findings))

    @property
    def is_severe(self) -> bool:
        """Whether any finding is."""
        return any(each.severity is Severity.SEVERE for each in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "examined": list(self.examined),
            "findings": [each.as_dict() for each in self.findings],
        }


def not_checked(what: str, why: str, remedy: str = "") -> Finding:
    """A note of something that could not be looked at."""
    return Finding("not-checked", Severity.NOTE, f"Not checked: {what}.", (why,), remedy)
