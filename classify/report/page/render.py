"""Templates to pages that need nothing else."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from headbench.classify.wording import COMMAND, END_OF_RANGE

FOLDER = Path(__file__).parent
OPTION = re.compile(r"--[a-z-]+")


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
    environment.filters |= {"with_code": with_code, "as_code": as_code}
    environment.globals["end_of_range"] = END_OF_RANGE
    script, style = ((FOLDER / name).read_text("utf-8") for name in ("script.js", "style.css"))
    return environment.get_template(template).render(
        style=Markup(style),  # noqa: S704, ours
        script=Markup(script),  # noqa: S704, ours
        script_hash=source_hash(script),
        **values,
    )


def with_code(sentence: str) -> Markup:
    """A sentence, escaped, with commands set as code; a number and its % stay on one line."""
    parts = COMMAND.split(sentence.replace(" %", "\xa0%"))
    parts[1::2] = map(as_code, parts[1::2])
    return Markup("").join(parts)


def as_code(command: str) -> Markup:
    """A command, escaped and set as code; its options are not broken at the end of a line."""
    code = OPTION.sub(r"<span>\g<0></span>", str(escape(command)))
    return Markup(f"<code>{code}</code>")  # noqa: S704, escaped


def source_hash(text: str) -> str:
    """Names a script or a style in a Content-Security-Policy: the browser takes no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
