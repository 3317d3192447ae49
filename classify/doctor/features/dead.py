"""Columns that say nothing: how many of them few images alone explain."""

from collections.abc import Iterator

from classify.doctor.features.columns import Columns
from classify.doctor.finding import Finding, Severity
from classify.wording import count

# ResNet50 trained on photographs: of 2 048 columns none were always 0 over 980 photographs of
# food at 96 px, and 4 over the first 10; of the same network fed with pixels / 255, 1 381 over 64.
MOST_DEAD = 0.05
# A network that is fed with what it was trained on has no such columns.
MOST_CONSTANT = 0.01
REMEDY = (
    "The usual cause is a wrong preprocessing of pixels, or a script that filled a part of an "
    "array. 'make features OVERWRITE=1' computes the embeddings again with the network's own "
    "preprocessing."
)


def examine_columns(columns: Columns) -> Iterator[Finding]:
    """Columns that are always 0, or always the same."""
    n_dead, n_constant = int(columns.is_dead.sum()), int(columns.is_constant.sum())
    if n_dead + n_constant == columns.dim:
        yield Finding(
            "constant-columns",
            Severity.SEVERE,
            "All images have the same embedding: nothing can be learnt from it.",
            (f"None of {columns.dim} columns varies over {columns.n_train} images of train.",),
            REMEDY,
        )
        return
    if n_dead:
        yield _dead(columns, n_dead)
    if n_constant:
        is_odd = n_constant > MOST_CONSTANT * columns.dim
        yield Finding(
            "constant-columns",
            Severity.WARNING if is_odd else Severity.NOTE,
            f"{count(n_constant, 'column')} of {columns.dim} hold the same number in every image.",
            (f"Looked at over {columns.n_train} images of train.",),
            REMEDY if is_odd else "",
        )


def _dead(columns: Columns, n_dead: int) -> Finding:
    beyond = n_dead - columns.n_unseen
    is_odd = beyond > MOST_DEAD * columns.dim
    return Finding(
        "dead-columns",
        Severity.WARNING if is_odd else Severity.NOTE,
        f"{count(n_dead, 'column')} of {columns.dim} are 0 in every image of train.",
        (
            f"Over {count(columns.n_train, 'image')}. So few images explain about "
            f"{columns.n_unseen:.0f} of them: as many again would have one that is not 0 "
            "(estimated from the columns that are not 0 in one image or in two).",
        ),
        REMEDY if is_odd else "",
    )
