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
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        style=Markup((FOLDER / "style.css").read_text("utf-8")),  # noqa: S704, ours
        script=Markup(script),  # noqa: S704, ours
        # The browser runs the script with this digest and no other.
        script_hash=f"sha256-{digest}",
        **values,
    )
