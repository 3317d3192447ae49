"""Show a report in the browser."""

import webbrowser

from classify.errors import RunError
from classify.report.write import PAGE
from classify.run import Run


def open_report(run: Run) -> None:
    """Open the page of a run in the user's browser.

    Raises
    ------
    RunError
        If there is no report, or no browser could be started.
    """
    path = run.report_folder / PAGE
    if not path.is_file():
        raise RunError(f"{path}: no report yet. Run 'make report' first.")
    if not webbrowser.open(path.resolve().as_uri()):
        raise RunError(f"{path}: no browser could be started here. Open the file yourself.")
