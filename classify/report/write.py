"""Write a report: ``results.json``, ``results.md`` and ``index.html``."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cache.reader import FeatureFile
from classify.inspection.embedding_map import embedding_map, sample_rows
from classify.inspection.near_duplicates import find_duplicates
from classify.report.advice import advice
from classify.report.drawings import Drawings, draw
from classify.report.findings import find_in_data
from classify.report.looks import Looks, collect_looks
from classify.report.page.render import render
from classify.report.results import collect_results
from classify.report.sentences import (
    describe_copies,
    describe_folds,
    describe_gains,
    describe_quality,
    describe_suspicion,
)
from classify.report.source import open_source
from classify.report.table import (
    COLUMNS,
    TITLES,
    banner,
    differences,
    footnote,
    provenance,
    verdict,
)
from classify.report.text import as_markdown
from classify.run import Run

PAGE = "index.html"
# On the map: as many as can be told apart, and as the page can carry pictures of.
N_POINTS = 500
MAP_SEED = 0


def write_report(
    run: Run, head: str | None = None, data: str | Path | None = None, command: str = ""
) -> dict[str, Any]:
    """Measure a run and write its report beside it.

    Parameters
    ----------
    run : Run
    head : str or None
        The one whose mistakes are shown; None for the best on val.
    data : path-like, URL or None
        The folder of images, if it was moved; without it there are no thumbnails, and the page
        says so.
    command : str
        The command line that asked for it.

    Returns
    -------
    dict
        The results; see :func:`classify.report.results.collect_results`.

    Raises
    ------
    RunError, FeatureFileError
    """
    with FeatureFile(run.features_path) as features:
        source = open_source(run, features, head, data, command)
        map_rows = sample_rows(features, "test", N_POINTS, MAP_SEED)
        # These take the longest. Drawing holds the interpreter; they do not.
        with ThreadPoolExecutor(1) as pool:
            on_map = pool.submit(embedding_map, features, map_rows, MAP_SEED)
            duplicates = pool.submit(find_duplicates, features)
            results = collect_results(source)
            drawings = draw(source, results, map_rows, on_map.result())
            results |= find_in_data(source, duplicates.result())
        looks = collect_looks(source, results, map_rows, drawings)
    folder = run.report_folder
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=2, ensure_ascii=False)
    (folder / "results.json").write_text(text + "\n", "utf-8")
    (folder / "results.md").write_text(as_markdown(results), "utf-8")
    (folder / PAGE).write_text(as_page(results, drawings, looks), "utf-8")
    return results


def as_page(results: dict[str, Any], drawings: Drawings, looks: Looks) -> str:
    """The report as one self-contained page; every name in it is escaped."""
    return render(
        "index.html",
        title=f"{results['name']}: which head?",
        data=looks.data,
        results=results,
        drawings=drawings,
        looks=looks,
        columns=TITLES,
        rows=[
            [(column.text(head), column.key(head)) for column in COLUMNS]
            for head in results["heads"]
        ],
        banner=banner(results),
        verdict=verdict(results),
        provenance=provenance(results),
        footnote=footnote(results),
        differences=differences(results),
        other_differences=differences(results, of_best=False),
        quality=describe_quality(results),
        advice=advice(results),
        gains=describe_gains(results["learning_curve"]),
        folds=describe_folds(results["folds"]).splitlines(),
        copies=describe_copies(results),
        suspicion=describe_suspicion(results),
    )
