"""The reliability diagram."""

from classify.inspection.mistakes import Reliability
from classify.report.svg import CYCLE, SOFT, TEST, Picture, drawing, figure, percent_axis, picture


def reliability_diagram(name: str, before: Reliability | None, after: Reliability) -> Picture:
    """Share that is right against the probability, before and after the temperature."""
    with drawing():
        drawn, axes = figure(4)
        axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=":")
        curves = [] if before is None else [(before, "before", CYCLE[1], "s")]
        for bins, label, color, marker in [*curves, (after, "after", TEST, "o")]:
            sizes = 12 + 160 * bins.n_images / after.n_images.sum()
            axes.plot(bins.confidence, bins.accuracy, color=color, linewidth=1.2)
            axes.scatter(
                bins.confidence, bins.accuracy, sizes, color=color, marker=marker, label=label
            )
        axes.set(xlabel="probability of the class given", ylabel="share that is right")
        axes.set(xlim=(0, 1), ylim=(0, 1))
        percent_axis(axes.xaxis)
        percent_axis(axes.yaxis)
        if before is not None:
            axes.legend(loc="upper left", title="temperature", markerscale=0.6)
        return picture(
            "reliability",
            drawn,
            f"Reliability diagram of {name} on test: share of images that is right by the "
            "probability of the class that they were given.",
            f"{name} on test. On the dotted line a probability means what it says; below it, the "
            "head is too sure of itself. Larger marks stand for more images.",
        )
