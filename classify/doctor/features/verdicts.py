"""What was done to embeddings, put into words: with distances, and with photographs."""

import numpy as np

from classify.doctor.features.dead import REMEDY as COLUMNS_REMEDY
from classify.doctor.features.network import BATCH_SIZE, Condition
from classify.doctor.features.rerun import Beside
from classify.doctor.finding import Finding, Grid, Photo, Severity
from classify.wording import count
from extract.embedder import relative_differences

REMEDY = (
    "'make features OVERWRITE=1' computes them with the network's own preprocessing, in inference "
    "mode; then 'make heads'."
)


def another_scaling(beside: Beside, equals: list[Condition], grid: Grid) -> Finding:
    """Another scaling of pixels, or several that come to the same."""
    declared = beside.rerun.declared.scaling
    names = " or ".join(way.scaling.name for way in equals)
    return Finding(
        "embeddings-of-another-scaling",
        Severity.SEVERE,
        f"These embeddings match pixels scaled as {names}, where the file declares "
        f"{declared.name}.",
        (
            _how(beside),
            *(f"{way.scaling.name}: {way.scaling.words}." for way in equals),
            f"Declared is {declared.name}: {declared.words}.",
        ),
        f"Give the network what it was trained on. {REMEDY}",
        grid=grid,
    )


def batch_mates(beside: Beside, best: Condition, grid: Grid | None) -> Finding:
    """Statistics of the batch; without a grid where another finding shows it."""
    return Finding(
        "embeddings-depend-on-batch-mates",
        Severity.SEVERE,
        "These embeddings depend on which images were in the same batch: BatchNormalization took "
        "the statistics of the batch, as it does in training.",
        (_how(beside), _other_mates(beside, best)),
        f"Run the network in inference mode: model(x, training=False), or predict. {REMEDY}",
        grid=grid,
    )


def _other_mates(beside: Beside, way: Condition) -> str:
    """The same images among others: shown, not concluded."""
    images = beside.sample.images[: 2 * BATCH_SIZE]
    n = max(1, min(BATCH_SIZE, len(images)) // 2)
    alone = Condition(way.scaling, by_batch=False)
    moved = [
        np.median(
            relative_differences(
                beside.rerun.embed(np.concatenate([images[:n], images[-n:]]), each)[:n],
                beside.rerun.embed(images[: 2 * n], each)[:n],
            )
        )
        for each in (way, alone)
    ]
    return (
        f"{count(n, 'image')} embedded twice, the second time with {n} others in the batch: with "
        f"batch statistics the embedding moves by {moved[0]:.2g} of its length, in inference mode "
        f"by {moved[1]:.1g}."
    )


def emptied(beside: Beside, n_columns: int) -> Finding:
    """Columns without what the network gives there; the others are right."""
    is_dead = beside.columns.is_dead | beside.columns.is_constant
    again = beside.again(beside.rerun.declared)[:, is_dead]
    return Finding(
        "dead-columns",
        Severity.SEVERE,
        f"{count(n_columns, 'column')} of {beside.columns.dim} say nothing in the file, and the "
        "network gives something there.",
        (
            f"In the other columns the file holds what the network gives, on {len(again)} images "
            f"of this run; there {int((np.ptp(again, axis=0) > 0).sum())} of these columns vary.",
        ),
        COLUMNS_REMEDY,
    )


def something_else(beside: Beside, wrong: list[int]) -> Finding:
    """Embeddings that nothing explains; `wrong` are positions in the sample."""
    distance = beside.distance(beside.rerun.declared)
    worst = sorted(wrong, key=lambda row: -distance[row])
    is_all = len(wrong) == len(distance)
    return Finding(
        "embeddings-of-something-else",
        Severity.SEVERE,
        f"{len(wrong)} of {len(distance)} embeddings looked at are not what the network gives "
        "these images.",
        (_how(beside), *([_direction(beside)] if is_all else [])),
        "They were made with other weights, another size or crop, another layer or other images, "
        "with batch statistics in batches drawn at random, or changed afterwards. " + REMEDY,
        grid=grid_of(beside) if is_all else None,
        photos=tuple(
            Photo(beside.paths[row], f"off by {distance[row]:.2g} of its length") for row in worst
        ),
    )


def _direction(beside: Beside) -> str:
    again = beside.again(beside.rerun.declared).astype(np.float64)
    lengths = np.linalg.norm(again, axis=1) * np.linalg.norm(beside.kept, axis=1)
    cosine = np.median(
        (again * beside.kept).sum(axis=1) / np.maximum(lengths, np.finfo(np.float32).tiny)
    )
    if cosine > 1 - beside.tolerance**2:
        return f"Their directions are right (cosine {cosine:.4f}): only their lengths were changed."
    return f"Nor is their direction: cosine {cosine:.2f} to what the network gives."


def _how(beside: Beside) -> str:
    n, identity = len(beside.kept), beside.features.identity
    return (
        f"{count(n, 'image')} of the run went through {identity.backbone} again at "
        f"{identity.size_px} px: the first {beside.sample.n_neighbours} of the file, and others "
        "from all over it. Distances are medians, in lengths of the embedding; the same is below "
        f"{beside.tolerance:g}."
    )


def grid_of(beside: Beside) -> Grid:
    """Median distances to the embeddings made in each way, the nearest first."""
    columns = ("pixels, mode", "first images", "others")
    ways = sorted(beside.rerun.conditions, key=beside.nearness)
    rows = [
        (
            way.words + (" (declared)" if way == beside.rerun.declared else ""),
            *(f"{median:.2g}" for median in beside.medians(way)),
        )
        for way in ways
    ]
    return Grid(columns[: len(rows[0])], tuple(rows))
