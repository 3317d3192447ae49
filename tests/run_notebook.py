"""Run docs/notebook.ipynb; ``python -m tests.run_notebook`` writes its outputs anew."""

import os
import tempfile
from pathlib import Path
from unittest import mock

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from tests.conftest import ROOT

PAGE = ROOT / "docs/notebook.ipynb"
# Of a cell, on a machine that has other things to do.
MOST_SECONDS = 300
WIDGET = "application/vnd.jupyter.widget-view+json"


def executed(folder: Path) -> NotebookNode:
    """The notebook, run from top to bottom in a folder, with the outputs of that run."""
    notebook = nbformat.read(PAGE, as_version=4)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=MOST_SECONDS,
        coalesce_streams=True,
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
    )
    # No settings of the user's, and no history.
    names = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    with mock.patch.dict(os.environ, dict.fromkeys(names, str(folder / "jupyter"))):
        client.execute()
    return notebook


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def lasting(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Outputs of a cell without its progress bars, and each picture once."""
    found = [each for each in outputs if not _is_progress(each)]
    for each in found:
        each.get("data", {}).pop("image/jpeg", None)
    return found


def _is_progress(output: NotebookNode) -> bool:
    return output.get("name") == "stderr" or WIDGET in output.get("data", {})


def rewrite() -> None:
    """Replace the outputs in the file."""
    with tempfile.TemporaryDirectory() as folder:
        notebook = executed(Path(folder))
    for cell in code_cells(notebook):
        cell.outputs = lasting(cell.outputs)
    nbformat.write(notebook, PAGE)


if __name__ == "__main__":
    rewrite()
