"""A hook of mkdocs: each notebook in docs/ becomes a page, its outputs included.

A plugin for that would bring fifty packages and scripts from elsewhere.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Put ``NAME.md`` beside each ``NAME.ipynb``, which stays as a download."""
    from mkdocs.structure.files import File

    for notebook in [each for each in files if each.src_uri.endswith(".ipynb")]:
        name = Path(notebook.src_uri)
        text = f"{as_markdown(notebook.content_string)}\n\n[Download this notebook]({name.name})\n"
        files.append(File.generated(config, str(name.with_suffix(".md")), content=text))
    return files


def as_markdown(notebook: str) -> str:
    """The cells of a notebook (JSON) and their outputs."""
    cells = json.loads(notebook)["cells"]
    return "\n\n".join(part for cell in cells for part in _parts(cell))


def _parts(cell: dict[str, Any]) -> Iterator[str]:
    """Markdown of a cell, then of its outputs."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
    elif source:
        yield _fenced(source, "python")
        for output in cell["outputs"]:
            yield _shown(output)


def _shown(output: dict[str, Any]) -> str:
    """An output in its richest form."""
    data = output.get("data", {})
    if "text/html" in data:
        return f"<div>\n{''.join(data['text/html'])}\n</div>"
    if "image/png" in data:
        return f'<img alt="" src="data:image/png;base64,{"".join(data["image/png"]).strip()}">'
    return _fenced("".join(data.get("text/plain", output.get("text", ""))), "text")


def _fenced(text: str, language: str) -> str:
    return f"````{language}\n{text.rstrip()}\n````"
