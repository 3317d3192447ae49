"""Matplotlib figures as inline SVG in the colours of the page: light, dark and print."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

# A colour that is drawn stands for one that the page's style sheet defines, so that one picture
# serves light, dark and print. Any eight odd colours would do.
THEME = {
    "ink": "#010203",
    "soft": "#020304",
    "line": "#030405",
    "paper": "#040506",
    "val": "#050607",
    "test": "#060708",
    **{f"c{number}": f"#1{number}a0b0" for number in range(8)},
}
VARIABLES = {color: f"var(--{name})" for name, color in THEME.items()}
INK, SOFT, LINE, VAL, TEST = (THEME[name] for name in ("ink", "soft", "line", "val", "test"))
CYCLE = [color for name, color in THEME.items() if name.startswith("c")]
MARKERS = "osD^vP*X"
# Points at the width that a phone leaves: 343 px there, 416 px beside others on a desk.
WIDTH = 5.0
LONGEST_NAME = 24
# Inches left, right, below and above of a plot; above it stands its legend.
PLOT_MARGINS = (0.85, 0.12, 0.55, 0.55)
# Labels of a logarithmic axis: more would touch each other.
MOST_DECADES = 6
RC: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: readable, searchable, in the reader's own font
    "svg.hashsalt": "headbench",  # the same picture has the same bytes
    "text.parse_math": False,  # a class called $x$ is called $x$
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
}


class Picture(NamedTuple):
    """A picture for the page.

    Attributes
    ----------
    name : str
        Letters and hyphens; the ids inside begin with it.
    svg : Markup
        The element, without a size: it fills the width of its parent.
    alt : str
        What it shows, for screen readers.
    caption : str
        How to read it.
    width_px : int
        Width at which it was drawn.
    panel : dict of str to float
        Position of its first panel: left, top, width and height, in percent of the picture.
    """

    name: str
    svg: Markup
    alt: str
    caption: str
    width_px: int
    panel: dict[str, float]


@contextmanager
def drawing() -> Iterator[None]:
    """Apply the style of all pictures to figures that are made and saved inside."""
    with mpl.rc_context(RC), warnings.catch_warnings():
        # Names in scripts that Matplotlib's font lacks: the browser has them, and draws the text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        yield


def figure(height: float, width: float = WIDTH) -> tuple[Figure, Axes]:
    """A figure of one panel with automatic margins; sizes in inches, 5 fit on a phone."""
    made = Figure(figsize=(width, height), layout="constrained")
    return made, made.subplots()


def plot(
    height: float, width: float = WIDTH, margins: Sequence[float] = PLOT_MARGINS
) -> tuple[Figure, Axes]:
    """The same with given margins (left, right, below, above): takes half the time."""
    made = Figure(figsize=(width, height))
    left, right, bottom, top = margins
    made.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height)
    return made, made.subplots()


def legend_above(axes: Axes, columns: int = 2) -> None:
    """Put the legend above the panel, where it covers no curve."""
    axes.legend(loc="lower center", ncols=columns, bbox_to_anchor=(0.5, 1.0))


def picture(name: str, drawn: Figure, alt: str, caption: str) -> Picture:
    """The finished figure as a `Picture`."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    drawn.savefig(buffer, format="svg", metadata=nothing)
    svg = Markup(_inline(buffer.getvalue(), name, alt))  # noqa: S704, Matplotlib escaped the names
    box, width_px = drawn.axes[0].get_position(), round(drawn.get_figwidth() * 96)
    sides = {"left": box.x0, "top": 1 - box.y1, "width": box.width, "height": box.height}
    panel = {name: round(100 * side, 3) for name, side in sides.items()}
    return Picture(name, svg, alt, caption, width_px, panel)


def short(name: str) -> str:
    """A name, shortened to fit beside an axis."""
    name = " ".join(name.split())
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def percent_axis(axis: Axis) -> None:
    """Label an axis of shares in percent."""
    axis.set_major_formatter(lambda value, _: f"{100 * value:g} %")


def log_axis(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers instead of powers."""
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_locator(LogLocator(numticks=MOST_DECADES))


def _inline(svg: str, name: str, alt: str) -> str:
    """The element alone, its ids its own, its colours those of the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)

    def rewrite(tag: re.Match[str]) -> str:
        text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", tag[0])
        text = re.sub(r"#[0-9a-f]{6}", lambda color: VARIABLES.get(color[0], color[0]), text)
        text = re.sub(r"font-family: [^;]*; ", "", text)
        return re.sub(r"(\.\d\d)\d+", r"\1", text)

    # Inside tags alone: what stands between them may be a name, and stays as it is.
    svg = re.sub(r"<[^>]+>", rewrite, svg)
    size = re.compile(r'<svg xmlns:xlink="[^"]*" width="[^"]*" height="[^"]*"')
    return size.sub(f'<svg role="img" aria-label="{escape(alt)}"', svg, count=1)
