"""Choose a value from a grid on val; if its end is the best, the grid is extended."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

# The log loss of probabilities of 98 %: below it a weaker penalty always gains a little, which is
# of no use.
NOTHING_TO_GAIN = 0.02
# In `chosen_`, if a limit ended the choice and not the loss on val.
AT_LIMIT = "is_at_limit"


class Choice(NamedTuple):
    """The value with the smallest loss, and all that were tried.

    Attributes
    ----------
    tried : list of float
        Ascending.
    losses : list of float
        Loss of each on val.
    is_at_limit : bool
        Whether the best value is the last that may be tried: a better one may lie beyond it.
    """

    best: float
    tried: list[float]
    losses: list[float]
    is_at_limit: bool


def choose_from(
    loss_of: Callable[[float], float],
    grid: Sequence[float],
    factor: float = 10.0,
    limits: tuple[float, float] | None = None,
    is_path: bool = False,
) -> Choice:
    """Try the values of a grid, and values beyond its ends while they lower the loss.

    Parameters
    ----------
    grid : sequence of float
        Above 0, ascending.
    factor : float
        Factor from one value to the next beyond an end.
    limits : tuple of float or None
        Smallest and largest value that may be tried; None: the grid's own ends.
    is_path : bool
        Whether to stop at the first value with a larger loss.
    """
    lowest, highest = limits or (grid[0], grid[-1])
    losses: dict[float, float] = {}
    for value in map(float, grid):
        losses[value] = loss_of(value)
        if is_path and losses[value] > min(losses.values()):
            break
    while True:
        # Of equal losses, the value that was tried first.
        best, tried = min(losses, key=lambda value: losses[value]), sorted(losses)
        ends = {tried[0]: best / factor, tried[-1]: best * factor}
        is_end = best in ends and len(tried) > 1 and losses[best] > NOTHING_TO_GAIN
        # Rounded, so that 1e-5 / 10 is 1e-6.
        beyond = float(f"{ends[best]:.6g}") if is_end else best
        if not is_end or not lowest <= beyond <= highest:
            return Choice(best, tried, [losses[value] for value in tried], is_end)
        losses[beyond] = loss_of(beyond)
