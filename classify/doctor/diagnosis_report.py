"""The diagnosis as text, as JSON and as a page with photographs."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from headbench.cache.disk import replace_texts
from headbench.classify.checked import json_text
from headbench.classify.doctor.finding import Diagnosis, Finding, Grid, Photo, Severity
from headbench.classify.report.page.render import render
from headbench.classify.report.photographs import thumbnail
from headbench.classify.wording import aligned, count, wrapped

PAGE_FILE, JSON_FILE = "index.html", "findings.json"
MOST_PHOTOS = 12
THUMBNAIL_PX = 160


def as_text(diagnosis: Diagnosis) -> str:
    """Number of findings, what was examined, and each finding with its evidence and remedy."""
    lines = [summary(diagnosis)]
    lines += [wrapped(each, "Examined: ", "  ") for each in diagnosis.examined]
    for finding in diagnosis.findings:
        lines += ["", *_finding_lines(finding)]
    return "\n".join(lines)


def summary(diagnosis: Diagnosis) -> str:
    """Number of findings of each severity."""
    if not diagnosis.findings:
        return "No problem found."
    n = Counter(finding.severity for finding in diagnosis.findings)
    return (
        f"{n[Severity.SEVERE]} severe, {count(n[Severity.WARNING], 'warning')}, "
        f"{count(n[Severity.NOTE], 'note')}."
    )


def write_diagnosis(diagnosis: Diagnosis, name: str, folder: Path) -> None:
    """Write the page, titled by `name`, and the JSON file; the folder is made if need be."""
    shown = {
        photo.path: thumbnail(photo.path, THUMBNAIL_PX)
        for finding in diagnosis.findings
        for photo in finding.photos[:MOST_PHOTOS]
    }
    page = render(
        "doctor.html",
        title=f"{name}: the doctor",
        data={},
        name=name,
        diagnosis=diagnosis,
        summary=summary(diagnosis),
        most_photos=MOST_PHOTOS,
        thumbnails=shown,
    )
    replace_texts(folder, {JSON_FILE: json_text(diagnosis.as_dict()) + "\n", PAGE_FILE: page})


def _finding_lines(finding: Finding) -> Iterator[str]:
    head = f"{finding.severity.name} {finding.code}: {finding.what}"
    yield wrapped(head, later="  ")
    for line in finding.evidence:
        yield wrapped(line, "  - ", "    ")
    if finding.grid:
        yield from _grid_lines(finding.grid)
    if finding.photos:
        yield wrapped(_photo_names(finding.photos), "  - ", "    ")
    if finding.remedy:
        yield wrapped(finding.remedy, "  What to do: ", "    ")


def _grid_lines(grid: Grid) -> Iterator[str]:
    for line in aligned([grid.columns, *grid.rows]):
        yield f"    {line}"


def _photo_names(photos: tuple[Photo, ...]) -> str:
    names = [f"{photo.path} ({photo.caption})" for photo in photos[:3]]
    n_more = len(photos) - len(names)
    return "; ".join(names) + (f"; and {n_more} more" if n_more else "")
