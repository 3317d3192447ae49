"""Template, style and script to one page, and the policy that lets nothing else in."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from headbench.classify.report.page.render import FOLDER as REPORT_PAGE
from headbench.classify.report.page.render import source_hash

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Page:
    """What the page says of the server.

    Attributes
    ----------
    head, weights : str
        For people.
    max_bytes : int
        Largest photograph.
    n_top, n_similar : int
        Classes and similar images that are shown; 0 for none.
    has_pictures : bool
        Whether similar images have pictures.
    """

    head: str
    weights: str
    has_random_weights: bool
    n_classes: int
    max_bytes: int
    n_top: int
    n_similar: int
    has_pictures: bool


class Rendered(NamedTuple):
    """A page and its Content-Security-Policy."""

    html: str
    policy: str


def render_page(page: Page) -> Rendered:
    """The page, with the colours and the type of the report; every value is escaped."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined
    )
    script = (FOLDER / "script.js").read_text("utf-8")
    sheets = (REPORT_PAGE / "style.css", FOLDER / "style.css")
    style = "".join(path.read_text("utf-8") for path in sheets)
    values = asdict(page)
    html = environment.get_template("page.html").render(
        style=Markup(style),  # noqa: S704, ours
        script=Markup(script),  # noqa: S704, ours
        data=values,
        **values,
    )
    policy = (
        f"default-src 'none'; script-src '{source_hash(script)}'; style-src '{source_hash(style)}';"
        " img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return Rendered(html, policy)
