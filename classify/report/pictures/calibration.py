"""The reliability diagram."""

from headbench.classify.report.results import Bins
from headbench.classify.report.svg import (
    CYCLE,
    SOFT,
    TEST,
    Picture,
    drawing,
    figure,
    percent_axis,
    picture,
)


def reliability_diagram(name: str, before: Bins | None, after: Bins) -> Picture:
    """Accuracy against the probability, before and after the temperature."""
    with drawing():
        drawn, axes = figure(4)
        axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=":")
        curves = [] if before is None else [(before, "before", CYCLE[1], "s")]
        for bins, label, color, marker in [*curves, (after, "after", TEST, "o")]:
            sizes = [12 + 160 * n / sum(after.n_images) for n in bins.n_images]
            axes.plot(bins.confidence, bins.accuracy, color=color, linewidth=1.2)
            axes.scatter(
                bins.confidence, bins.accuracy, sizes, color=color, marker=marker, label=label
            )
        axes.set(xlabel="probability of the predicted class", ylabel="accuracy")
        axes.set(xlim=(0, 1), ylim=(0, 1))
        percent_axis(axes.xaxis)
        percent_axis(axes.yaxis)
        if before is not None:
            axes.legend(loc="upper left", title="temperature", markerscale=0.6)
        return picture(
            "reliability",
            drawn,
            f"Reliability diagram of {name} on test: accuracy by the probability of the predicted "
            "class.",
            f"{name} on test. On the dotted line, probability equals accuracy; below it, the head "
            "is overconfident. Larger marks stand for more images.",
        )
