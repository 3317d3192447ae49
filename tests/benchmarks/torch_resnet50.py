"""ResNet50 as Keras builds it, in PyTorch, with Keras' weights: for the peers of the benchmark."""

from typing import Any

import numpy as np
import torch
from torch import nn

EPSILON = 1.001e-5
STAGES = ((2, 3, 64, 1), (3, 4, 128, 2), (4, 6, 256, 2), (5, 3, 512, 2))


class Block(nn.Module):
    """Bottleneck whose first convolution has the stride, as in Keras."""

    def __init__(self, n_in: int, n_middle: int, stride: int, has_projection: bool) -> None:
        super().__init__()
        n_out = 4 * n_middle
        self.body = nn.Sequential(
            *_conv(n_in, n_middle, 1, stride), nn.ReLU(), *_conv(n_middle, n_middle, 3), nn.ReLU()
        )
        self.last = nn.Sequential(*_conv(n_middle, n_out, 1))
        self.skip = nn.Sequential(*_conv(n_in, n_out, 1, stride)) if has_projection else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skipped = x if self.skip is None else self.skip(x)
        return torch.relu(self.last(self.body(x)) + skipped)


def _conv(n_in: int, n_out: int, size: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    conv = nn.Conv2d(n_in, n_out, size, stride, padding=size // 2)
    return conv, nn.BatchNorm2d(n_out, EPSILON)


def build(base: Any) -> nn.Module:
    """The network with the weights of a Keras one.

    Parameters
    ----------
    base : keras.Model
        ``ResNet50(include_top=False)``.

    Returns
    -------
    nn.Module
        Takes float32 (n, 3, height, width), preprocessed; gives float32 (n, 2048).
    """
    blocks: list[nn.Module] = []
    n_in = 64
    for _, n_blocks, n_middle, stride in STAGES:
        for number in range(n_blocks):
            is_first = number == 0
            blocks.append(Block(n_in, n_middle, stride if is_first else 1, is_first))
            n_in = 4 * n_middle
    stem = nn.Sequential(*_conv(3, 64, 7, 2))
    pool = (nn.ReLU(), nn.ZeroPad2d(1), nn.MaxPool2d(3, 2))
    network = nn.Sequential(stem, *pool, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    _copy(base, "conv1", stem[0], stem[1])
    remaining = iter(blocks)
    for stage, n_blocks, _, _ in STAGES:
        for number in range(1, n_blocks + 1):
            _copy_block(base, f"conv{stage}_block{number}", next(remaining))
    return network.eval()


def _copy_block(base: Any, name: str, block: Any) -> None:
    _copy(base, f"{name}_1", block.body[0], block.body[1])
    _copy(base, f"{name}_2", block.body[3], block.body[4])
    _copy(base, f"{name}_3", block.last[0], block.last[1])
    if block.skip is not None:
        _copy(base, f"{name}_0", block.skip[0], block.skip[1])


def _copy(base: Any, name: str, conv: Any, norm: Any) -> None:
    kernel, bias = base.get_layer(f"{name}_conv").get_weights()
    names = ("weight", "bias", "running_mean", "running_var")
    state = dict(zip(names, base.get_layer(f"{name}_bn").get_weights(), strict=True))
    norm.load_state_dict(
        {key: torch.from_numpy(value) for key, value in state.items()}, strict=False
    )
    kernel = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
    conv.load_state_dict({"weight": torch.from_numpy(kernel), "bias": torch.from_numpy(bias)})
