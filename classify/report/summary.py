"""The report as a part of another page, such as the output of a notebook's cell."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from headbench.classify.report import table, words
from headbench.classify.report.page.render import FOLDER, render
from headbench.classify.report.results import Results
from headbench.classify.report.svg import Picture

# Of all places on the page those whose pictures need no script and no photographs.
PLACES = ("heads", "confusion", "calibration", "learning_curve")


@dataclass(frozen=True)
class WrittenReport:
    """A report that was written.

    Attributes
    ----------
    pictures : mapping of str to sequence of Picture
        By their place on the page.
    """

    results: Results
    pictures: Mapping[str, Sequence[Picture]]


def summary_html(report: WrittenReport) -> str:
    """The answer, the table of heads and the main pictures as HTML that stands alone.

    It needs no script and no file. Its style applies to nothing else on the page it becomes part
    of, and follows the light or dark theme of Jupyter, VS Code and Colab. Every name is escaped.
    """
    results = report.results
    light, dark = _colors()
    return render(
        "summary.html",
        light=light,
        dark=dark,
        results=results,
        table=table,
        words=words,
        pictures=[picture for place in PLACES for picture in report.pictures[place]],
    )


def _colors() -> tuple[Markup, Markup]:
    """The colours of the page, light and dark, as CSS declarations."""
    style = (FOLDER / "style.css").read_text("utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
    return Markup(light), Markup(dark)  # noqa: S704, ours
