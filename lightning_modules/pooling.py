"""Adaptive average pooling whose gradient is the same bits on every run, on an accelerator too."""

import torch
from torch import Tensor, nn


class AdaptiveAveragePool2d(nn.Module):
    """`torch.nn.AdaptiveAvgPool2d` as two products with small matrices, a row and a column of bins at a time.

    The gradient of torch's own layer adds up in no fixed order on CUDA, and torch refuses it where
    deterministic algorithms are asked for. A product's gradient is a product. An input that has the output's
    size already is returned as it is.

    Shapes: (N, C, H, W) -> (N, C, output_size, output_size).

    Args:
        output_size: Height and width of the output, at least 1.
    """

    def __init__(self, output_size: int) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, images: Tensor) -> Tensor:
        """Means over bins, of `images` (N, C, H, W)."""
        height, width = images.shape[-2:]
        if height == width == self.output_size:
            return images
        rows, columns = (bins(size, self.output_size).to(images) for size in (height, width))
        pooled: Tensor = rows @ images @ columns.T
        return pooled

    def extra_repr(self) -> str:
        """As torch prints its own layer."""
        return f"output_size={self.output_size}"


def bins(size: int, output_size: int) -> Tensor:
    """Means over bins as a matrix of shape (output_size, size), float64; each row adds up to 1.

    Bin i covers floor(i size / output_size) up to, not including, ceil((i + 1) size / output_size), as in
    `torch.nn.AdaptiveAvgPool2d`: bins overlap where the size is not a multiple, and repeat where it is less.
    """
    rows = []
    for i in range(output_size):
        start, stop = i * size // output_size, -(-(i + 1) * size // output_size)
        rows.append([1.0 / (stop - start) if start <= column < stop else 0.0 for column in range(size)])
    return torch.tensor(rows, dtype=torch.float64, device="cpu")  # a constant in an exported network
