"""Loss and gradient of multinomial logistic regression: two matrix products a pass."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.heads.head import Labelled
from classify.heads.spectrum import Spectrum
from classify.heads.sums import sum_over

# Columns whose mean is so many deviations from 0 lose digits unless it is taken off them first.
FAR_FROM_ZERO = 30.0


class SoftmaxLoss:
    """Mean weighted log loss on standardised embeddings, which are never made.

    The standardisation goes into the weights instead: x'w with x' = (x - mean) / scale equals
    x(w / scale) - mean(w / scale). Products are float32, sums over
    blocks float64.

    Parameters
    ----------
    train : Labelled
    spectrum : Spectrum
        Whose mean and scale are used.
    n_classes : int
    """

    def __init__(self, train: Labelled, spectrum: Spectrum, n_classes: int) -> None:
        self.train = train
        self.n_classes = n_classes
        self.share = (train.weight / train.weight.sum()).astype(np.float32)
        self.scale = spectrum.scale.astype(np.float32)[:, None]
        mean = spectrum.mean.astype(np.float32)
        is_far = np.abs(spectrum.mean / spectrum.scale).max() > FAR_FROM_ZERO
        self.shift = mean if is_far else None
        # What the shift leaves of the mean.
        self.mean = spectrum.mean - mean if is_far else spectrum.mean

    def unshifted(self, theta: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Kernel (dim, n_classes) and bias (n_classes,) on the embeddings as they are, float32."""
        kernel, bias = self._folded(theta)
        return kernel, bias if self.shift is None else bias - self.shift @ kernel

    def __call__(self, theta: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        """Loss and gradient.

        Parameters
        ----------
        theta : float32 (dim + 1, n_classes)
            Weights of the standardised columns, and last the biases.

        Returns
        -------
        loss : float
        gradient : float32, shaped like `theta`
        """
        kernel, bias = self._folded(theta)
        columns = (self.train.y, self.share)
        loss, data, biases = sum_over(_terms, self.train.X, columns, kernel, bias, self.shift)
        data -= np.outer(self.mean, biases)
        data /= self.scale
        return float(loss), np.vstack([data, biases]).astype(np.float32)

    def _folded(self, theta: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
        kernel = theta[:-1] / self.scale
        bias = theta[-1] - self.mean @ kernel
        return kernel, bias.astype(np.float32)


def _terms(
    X: NDArray[np.float32],
    y: NDArray[np.integer],
    share: NDArray[np.float32],
    kernel: NDArray[np.float32],
    bias: NDArray[np.float32],
    shift: NDArray[np.float32] | None,
) -> tuple[Any, ...]:
    """Loss of a block, and its gradient with respect to kernel and bias."""
    if shift is not None:
        X = X - shift
    residual = X @ kernel
    residual += bias
    loss = _to_residual(residual, y, share)
    return loss, X.T @ residual, residual.sum(axis=0)


def _to_residual(
    logits: NDArray[np.float32], y: NDArray[np.integer], share: NDArray[np.float32]
) -> float:
    """Turn logits into the gradient with respect to them, in place; gives their loss."""
    of_truth = np.arange(len(y)), y
    logits -= logits.max(axis=1, keepdims=True)
    truth = logits[of_truth]
    np.exp(logits, out=logits)
    total = logits.sum(axis=1)
    loss = float(share @ (np.log(total) - truth).astype(np.float64))
    logits /= total[:, None]
    logits[of_truth] -= 1
    logits *= share[:, None]
    return loss
