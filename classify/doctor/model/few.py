"""Images that are too few to judge a model by."""

from collections.abc import Iterator

from classify.doctor.finding import Finding, Severity
from classify.doctor.model.measured import Condition, Measured
from classify.wording import count, percent


def check_sample_size(measured: Measured, condition: Condition) -> Iterator[Finding]:
    """Say that images are too few to tell the model from a guess."""
    if not measured.is_open(condition):
        return
    n = len(measured.sample.labels)
    yield Finding(
        "too-few-to-judge",
        Severity.NOTE,
        f"{count(n, 'image')} cannot tell whether the model is better than a guess.",
        (
            f"{percent(measured.accuracy(condition))} of {n} are right, pixels "
            f"{condition.scaling}, in inference; the most frequent class is "
            f"{100 * measured.sample.largest_share:.1f} % of them, which leaves both possible.",
        ),
        "Name a folder with more labelled images beside the model.",
    )
