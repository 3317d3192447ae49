"""What was done to embeddings that are not those of the network as the file declares it."""

from collections.abc import Iterator

import numpy as np

from classify.doctor.features.network import Condition
from classify.doctor.features.norms import off_range
from classify.doctor.features.rerun import Beside
from classify.doctor.features.rows import examine_order
from classify.doctor.features.verdicts import (
    another_scaling,
    batch_mates,
    emptied,
    grid_of,
    something_else,
)
from classify.doctor.finding import Finding, Severity
from extract.embedder import relative_differences

# Batches of another size than our 32 are met this near, in lengths of the embedding and of the
# distance that the declared way leaves: 0.41 and 0.55 of it with 8, 0.16 and 0.25 with 64.
NEAR = 0.7
# In inference mode nothing but the scaling can be a little different, such as / 256.
NEAR_IN_INFERENCE = 0.1
SMALLEST = np.finfo(np.float32).tiny
# Two ways that are as near as this cannot be told apart: BatchNormalization by the batch makes
# /255 and raw the same.
TIE = 1.5


def examine_sample(beside: Beside) -> Iterator[Finding]:
    """Whether the file holds the network's embeddings; if not, whose."""
    if beside.is_same.all():
        return
    if beside.is_same.mean() >= 0.5:
        yield from _some_rows(beside)
    else:
        yield from _all_rows(beside)


def _some_rows(beside: Beside) -> Iterator[Finding]:
    """Most are right: what is wrong was done to single embeddings."""
    rows, norms = beside.sample.rows, beside.columns.norms
    given = np.linalg.norm(beside.again(beside.rerun.declared).astype(np.float64), axis=1)
    low, high = float(given.min()), float(given.max())
    margin = beside.tolerance * high
    is_off = (norms < low - margin) | (norms > high + margin)
    wrong = np.flatnonzero(~beside.is_same)
    if is_off[rows[wrong]].any():
        odd = np.flatnonzero(is_off)
        farthest = np.argsort(
            -np.abs(np.log(np.maximum(norms[odd], SMALLEST) / max(np.median(given), SMALLEST)))
        )
        evidence = (
            f"This network gives lengths from {low:.4g} to {high:.4g}: measured on "
            f"{len(rows)} images of this run, the longest and the shortest embeddings among them.",
            f"Run again, {int(is_off[rows[wrong]].sum())} of them get another embedding than the "
            "file's.",
        )
        yield off_range(
            beside.features, norms, odd[farthest], beside.root, Severity.SEVERE, evidence
        )
    others = wrong[~is_off[rows[wrong]]]
    if others.size:
        yield something_else(beside, others.tolist())


def _all_rows(beside: Beside) -> Iterator[Finding]:
    live = ~(beside.columns.is_dead | beside.columns.is_constant)
    declared = beside.again(beside.rerun.declared)
    on_live = relative_differences(declared[:, live], beside.kept[:, live])
    if live.any() and np.median(on_live) <= beside.tolerance:
        yield emptied(beside, int((~live).sum()))
        return
    ways = sorted(beside.rerun.conditions, key=beside.nearness)
    best = ways[0]
    if beside.nearness(best) > beside.tolerance and (order := examine_order(beside)):
        yield order
        return
    if not _explains(beside, best):
        yield something_else(beside, list(range(len(beside.kept))))
        return
    limit = max(TIE * beside.nearness(best), beside.tolerance / 10)
    equals = [
        way for way in ways if beside.nearness(way) <= limit and way.by_batch == best.by_batch
    ]
    grid = grid_of(beside)
    is_scaled = beside.rerun.declared.scaling not in [way.scaling for way in equals]
    if is_scaled:
        yield another_scaling(beside, equals, grid)
    if best.by_batch:
        yield batch_mates(beside, best, None if is_scaled else grid)


def _explains(beside: Beside, way: Condition) -> bool:
    """Whether embeddings made in this way come near those of the file, and the declared do not."""
    nearest = beside.nearness(way)
    limit = NEAR if way.by_batch else NEAR_IN_INFERENCE
    return nearest <= min(limit, NEAR * beside.nearness(beside.rerun.declared))
