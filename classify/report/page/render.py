"""Templates to pages that need nothing else."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

FOLDER = Path(__file__).parent


def render(template: str, **values: Any) -> str:
    """Fill in a template of this folder; every value is escaped.

    Parameters
    ----------
    template : str
        Its file name.
    **values
        What `base.html` and the template ask for: `title`, `data` (JSON-ready, for the script), ...
    """
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (FOLDER / "script.js").read_text("utf-8")
    return environment.get_template(template).render(
        style=Markup((FOLDER / "style.css").read_text("utf-8")),  # noqa: S704, ours
        script=Markup(script),  # noqa: S704, ours
        script_hash=source_hash(script),
        **values,
    )


def source_hash(text: str) -> str:
    """Names a script or a style in a Content-Security-Policy: the browser takes no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
