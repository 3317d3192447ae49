"""Regularization path: minimise penalised losses, each fit from what was learnt before.

L-BFGS (Nocedal and Wright 2006, algorithm 7.5), with three things that a general solver cannot
know. The Hessian of the first fit is near the covariance of the embeddings times p(1 - p), which
their principal axes invert. The penalty is known in closed form, so that what one fit has learnt
of the curvature holds for the next. And solutions lie on a smooth curve, so that the next one can
be guessed. ``make bench-heads`` measures it against scikit-learn.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.classify.heads.column_statistics import PrincipalAxes

MEMORY = 30
SUFFICIENT_DECREASE = 1e-4
SMALLEST_STEP = 1e-3

Theta = NDArray[np.float32]
Loss = Callable[[Theta], tuple[float, Theta]]


class Fit(NamedTuple):
    """A minimum.

    Attributes
    ----------
    theta : float32 (dim + 1, n_classes)
        Weights of the standardised columns, and last the biases, which are not penalised.
    loss : float
        With the penalty.
    iterations : int
        Passes over the embeddings.
    is_converged : bool
        Whether the loss was within the tolerance, as far as the curvature tells, or as low as
        float32 can make it.
    """

    theta: Theta
    loss: float
    iterations: int
    is_converged: bool


class _Point(NamedTuple):
    theta: Theta
    loss: float
    data_gradient: Theta
    gradient: Theta


class PathSolver:
    """Minimises loss(theta) + penalty / 2 * |weights|**2 for one penalty after the other.

    Parameters
    ----------
    loss : callable
        Gives loss and gradient without the penalty.
    axes : PrincipalAxes
        Of the embeddings.
    shares : float64 (n_classes,)
        Of each class in the weight.
    """

    def __init__(self, loss: Loss, axes: PrincipalAxes, shares: NDArray[np.float64]) -> None:
        self.loss = loss
        self.axes = axes.axes.astype(np.float32)
        self.eigenvalues = axes.eigenvalues.astype(np.float32)[:, None]
        self.p_not_p = (shares * (1 - shares)).astype(np.float32)
        self.steps: deque[tuple[Theta, Theta]] = deque(maxlen=MEMORY)
        self.fits: list[Fit] = []

    def solve(self, penalty: float, tolerance: float, max_iter: int) -> Fit:
        """The next fit of the path; starts where those before point to."""
        fit = self._minimise(self._guess(), penalty, tolerance, max_iter)
        self.fits.append(fit)
        return fit

    def polish(self, fit: Fit, penalty: float, tolerance: float, max_iter: int) -> Fit:
        """A fit of the path, brought nearer to its minimum."""
        return self._minimise(fit.theta, penalty, tolerance, max_iter)

    def _guess(self) -> Theta:
        """Where a parabola through the last three solutions leads; penalties grow by one factor."""
        last = [fit.theta for fit in self.fits[-3:]]
        if not last:
            return np.zeros((len(self.axes) + 1, len(self.p_not_p)), dtype=np.float32)
        if len(last) == 1:
            return last[0]
        if len(last) == 2:
            return 2 * last[1] - last[0]
        return 3 * last[2] - 3 * last[1] + last[0]

    def _minimise(self, theta: Theta, penalty: float, tolerance: float, max_iter: int) -> Fit:
        here = self._at(theta, penalty)
        for iteration in range(1, max_iter):
            direction = self._direction(here.gradient, penalty)
            # Half of it is what the loss would still fall by if it were the parabola it looks like.
            slope = _dot(here.gradient, direction)
            if slope / 2 <= tolerance * abs(here.loss):
                return Fit(here.theta, here.loss, iteration, True)
            there = self._search(here, direction, slope, penalty)
            if there is None:
                return Fit(here.theta, here.loss, iteration, True)
            step = there.theta - here.theta, there.data_gradient - here.data_gradient
            if _dot(*step) > 0:
                self.steps.append(step)
            here = there
        return Fit(here.theta, here.loss, max_iter, False)

    def _search(
        self, here: _Point, direction: Theta, slope: float, penalty: float
    ) -> _Point | None:
        """The first of steps 1, 1/2, 1/4 ... that lowers the loss enough, if any does."""
        length = 1.0
        while length > SMALLEST_STEP:
            there = self._at(here.theta - np.float32(length) * direction, penalty)
            if there.loss <= here.loss - SUFFICIENT_DECREASE * length * slope:
                return there
            length /= 2
        return None

    def _at(self, theta: Theta, penalty: float) -> _Point:
        loss, data_gradient = self.loss(theta)
        gradient = data_gradient.copy()
        gradient[:-1] += np.float32(penalty) * theta[:-1]
        return _Point(
            theta, loss + penalty / 2 * _dot(theta[:-1], theta[:-1]), data_gradient, gradient
        )

    def _direction(self, gradient: Theta, penalty: float) -> Theta:
        """The inverse of the Hessian, as far as it is known, times the gradient."""
        changes = []
        for step, data_change in self.steps:
            # The penalty's own curvature is known, whatever it was when the step was made.
            change = data_change.copy()
            change[:-1] += np.float32(penalty) * step[:-1]
            changes.append((step, change, _dot(step, change)))
        rest, factors = gradient.copy(), []
        for step, change, curvature in reversed(changes):
            factor = _dot(step, rest) / curvature
            rest -= np.float32(factor) * change
            factors.append(factor)
        direction = self._precondition(rest, penalty)
        if changes:
            step, change, curvature = changes[-1]
            direction *= np.float32(curvature / _dot(change, self._precondition(change, penalty)))
        for (step, change, curvature), factor in zip(changes, reversed(factors), strict=True):
            direction += np.float32(factor - _dot(change, direction) / curvature) * step
        return direction

    def _precondition(self, gradient: Theta, penalty: float) -> Theta:
        # Off the axes the embeddings do not vary: gradients and weights have no part there.
        along = self.axes.T @ gradient[:-1]
        along /= self.eigenvalues * self.p_not_p + np.float32(penalty)
        return np.vstack([self.axes @ along, gradient[-1:] / self.p_not_p])


def _dot(a: Theta, b: Theta) -> float:
    return float(np.dot(a.ravel(), b.ravel()))
