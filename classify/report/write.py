"""Write a report: ``results.json``, ``results.md`` and ``index.html``."""

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from classify.report.results import collect_results
from classify.report.table import (
    COLUMNS,
    as_markdown,
    differences,
    footnote,
    provenance,
    rows,
    studies,
    verdict,
)
from classify.run import Run


def write_report(run: Run) -> dict[str, Any]:
    """Measure a run and write its report beside it.

    Parameters
    ----------
    run : Run

    Returns
    -------
    dict
        The results; see :func:`classify.report.results.collect_results`.
    """
    results = collect_results(run)
    folder = run.report_folder
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=2, ensure_ascii=False)
    (folder / "results.json").write_text(text + "\n", "utf-8")
    (folder / "results.md").write_text(as_markdown(results), "utf-8")
    (folder / "index.html").write_text(as_page(results), "utf-8")
    return results


def as_page(results: dict[str, Any]) -> str:
    """The report as one self-contained page; every name in it is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        results=results,
        columns=COLUMNS,
        rows=rows(results),
        provenance=provenance(results),
        footnote=footnote(results),
        verdict=verdict(results),
        differences=differences(results),
        studies=studies(results),
    )
