"""A small U-Net (Ronneberger et al. 2015) with batch normalisation finds bright discs in images of a thousand grey
values, as scanners give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

Images = tuple[Tensor, Tensor]  # images and masks, (n, 1, 16, 16) each
HOSPITALS = ("hospital-1", "hospital-2", "hospital-3", "hospital-4")
GREY = 1000.0


class Segmentation:
    """Hospitals whose images differ in brightness, and in number."""

    def clients(self) -> Sequence[str]:
        return HOSPITALS

    def model(self) -> nn.Module:
        return UNet()

    def data(self, client: str) -> Images:
        number = HOSPITALS.index(client)
        return _images(number, 1.0 + 0.1 * number, 32 + 16 * number)

    def weight(self, client: str, data: Images) -> int:
        del client
        return len(data[0])

    def train(self, model: nn.Module, client: str, data: Images) -> None:
        del client
        images, masks = data
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        model.train()
        for _ in range(3):
            for batch in torch.randperm(len(images)).split(16):
                optimizer.zero_grad()
                _dice_loss(model(images[batch]), masks[batch]).backward()
                optimizer.step()

    def evaluate(self, model: nn.Module) -> Mapping[str, float]:
        """Dice coefficient in [0, 1]: 1 is a mask that is right everywhere."""
        images, masks = _images(99, 1.15, 64)
        model.eval()
        with torch.no_grad():
            return {"dice": 1 - float(_dice_loss(model(images), masks))}


def task() -> Segmentation:
    return Segmentation()


def _layer(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


class UNet(nn.Module):
    """Two levels."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.below = (
            _layer(1, 8),
            nn.Sequential(nn.MaxPool2d(2), _layer(8, 16), nn.Upsample(scale_factor=2)),
        )
        self.behind, self.last = _layer(24, 8), nn.Conv2d(8, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        high = self.before(images)
        return self.last(self.behind(torch.cat([high, self.below(high)], dim=1)))


def _dice_loss(scores: Tensor, masks: Tensor) -> Tensor:
    found = torch.sigmoid(scores)
    return 1 - 2 * (found * masks).sum() / (found.sum() + masks.sum() + 1e-6)


def _images(seed: int, brightness: float, count: int) -> Images:
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    centres = torch.randint(4, 12, (count, 2), generator=generator)
    distances = (rows - centres[:, :1, None]) ** 2 + (columns - centres[:, 1:, None]) ** 2
    masks = (distances < 12).float().unsqueeze(1)
    noise = 0.3 * torch.randn(count, 1, 16, 16, generator=generator)
    return GREY * (brightness * masks + noise + 0.5), masks
