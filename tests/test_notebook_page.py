"""docs/notebook.ipynb runs from top to bottom, and shows what it gives today."""

import nbformat
import pytest
from nbformat import NotebookNode

from tests.run_notebook import PAGE, code_cells, executed, lasting

MOST_BYTES = 150_000


@pytest.fixture(scope="module")
def run_now(tmp_path_factory: pytest.TempPathFactory) -> NotebookNode:
    return executed(tmp_path_factory.mktemp("notebook"))


def forms(output: NotebookNode) -> list[str]:
    """What an output is: plain text, HTML, a picture, or what was printed."""
    return sorted(output.get("data", {"printed": output.get("text")}))


def test_the_outputs_in_the_file_are_of_the_kinds_that_it_gives_now(run_now: NotebookNode) -> None:
    """`python -m tests.run_notebook` writes them anew."""
    for kept, found in zip(
        code_cells(nbformat.read(PAGE, as_version=4)), code_cells(run_now), strict=True
    ):
        assert list(map(forms, kept.outputs)) == list(map(forms, lasting(found.outputs)))


def test_it_warns_of_random_weights_and_of_nothing_else(run_now: NotebookNode) -> None:
    outputs = [each for cell in code_cells(run_now) for each in cell.outputs]
    printed = dict.fromkeys(("stdout", "stderr"), "")
    for each in outputs:
        if each.output_type == "stream":
            printed[each.name] += each.text
    assert "RANDOM WEIGHTS" in printed["stdout"]
    assert "Warning" not in printed["stderr"]


def test_the_embedder_gives_what_is_stored(run_now: NotebookNode) -> None:
    [found] = [cell.outputs for cell in code_cells(run_now) if "np.allclose" in cell.source]
    assert found[-1].data["text/plain"] == "True"


def test_its_file_is_small_and_names_no_folder_of_a_machine() -> None:
    text = PAGE.read_text("utf-8")
    assert len(text) < MOST_BYTES
    assert not [name for name in ("/home/", "/tmp/", "/root/", "site-packages") if name in text]  # noqa: S108
