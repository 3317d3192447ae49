"""A finding: what is wrong, the evidence, and what to do."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

MOST_ROWS = 12


class Severity(IntEnum):
    """How serious a finding is.

    SEVERE: until it is fixed, results are wrong or no classifier can be trained.
    WARNING: it costs accuracy, or may do so.
    NOTE: good to know; also names what could not be checked, and why.
    """

    NOTE = 0
    WARNING = 1
    SEVERE = 2

    @property
    def word(self) -> str:
        """In lower case."""
        return self.name.lower()


class Photo(NamedTuple):
    """An image file and its caption, for the page."""

    path: Path
    caption: str


class Grid(NamedTuple):
    """A table of numbers; the first cell of each row names it."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def first(cls, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> "Grid":
        """The first 12 rows, and the number of further rows."""
        n_more = len(rows) - MOST_ROWS
        more = [(f"and {n_more} more", *[""] * (len(columns) - 1))] if n_more > 0 else []
        return cls(columns, (*rows[:MOST_ROWS], *more))


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes
    ----------
    code
        A stable name, such as ``wrong-scaling``.
    evidence
        Numbers with their n, and names of files.
    photos
        The worst first; the page shows the first ones.
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
    """A sentence about what was examined, with numbers, and the findings."""

    examined: str
    findings: list[Finding]


@dataclass(frozen=True)
class Diagnosis:
    """All examinations together; the most severe findings come first."""

    examined: tuple[str, ...]
    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, examinations: Iterable[Examination]) -> "Diagnosis":
        """Sort findings by severity; those of the same severity keep their order."""
        done = list(examinations)
        findings = [finding for each in done for finding in each.findings]
        findings.sort(key=lambda finding: -finding.severity)
        return cls(tuple(each.examined for each in done), tuple(findings))

    @property
    def is_severe(self) -> bool:
        """Whether any finding is severe."""
        return any(each.severity is Severity.SEVERE for each in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "examined": list(self.examined),
            "findings": [each.as_dict() for each in self.findings],
        }


def not_checked(what: str, why: str, remedy: str = "") -> Finding:
    """A note that something could not be checked, and why."""
    return Finding("not-checked", Severity.NOTE, f"Not checked: {what}.", (why,), remedy)
