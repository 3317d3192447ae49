"""A frozen network that is run in every epoch."""

from collections.abc import Iterator

from classify.doctor.finding import Finding, Severity
from classify.doctor.model.anatomy import Leaf, convolutions


def check_repeated(found: list[Leaf]) -> Iterator[Finding]:
    """Say that most layers compute the same in every epoch; not of models that augment inside."""
    weighted = [leaf for leaf in found if leaf.layer.weights]
    # Of those in a frozen network, some may be trained by their own flag.
    frozen = [leaf for leaf in weighted if not leaf.layer.trainable]
    augments = any(type(leaf.layer).__name__.startswith("Rand") for leaf in found)
    if augments or 2 * len(convolutions(frozen)) <= len(convolutions(weighted)):
        return
    yield Finding(
        "frozen-in-every-epoch",
        Severity.NOTE,
        f"{len(frozen)} of {len(weighted)} layers are frozen and run in every epoch.",
        (
            "In inference mode they make the same of an image each time, unless your script "
            "augments it: that costs no accuracy, only time.",
        ),
        "Make features once and train heads on them in seconds: 'make features', 'make heads'. "
        "'make finetune' trains the last blocks and keeps what the frozen ones before them make.",
    )
