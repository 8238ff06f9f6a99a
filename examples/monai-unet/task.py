"""MONAI's UNet segments discs in noisy images; the loader has worker processes, the loss is MONAI's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from monai.data import DataLoader, Dataset
from monai.losses import DiceLoss
from monai.networks.nets import UNet
from monai.transforms import Compose, RandFlipd, ScaleIntensityd
from torch import Tensor, nn

Sample = dict[str, Tensor]  # image and label (1, 16, 16)
HOSPITALS = ["hospital-1", "hospital-2", "hospital-3"]


class Segmentation:
    """Three hospitals whose images differ in brightness."""

    def clients(self) -> Sequence[str]:
        """The hospitals."""
        return HOSPITALS

    def model(self) -> nn.Module:
        """Batch normalisation, so that running statistics travel too."""
        return UNet(
            spatial_dims=2, in_channels=1, out_channels=1, channels=(4, 8), strides=(2,), num_res_units=1, norm="batch"
        )

    def data(self, client: str) -> DataLoader:
        """48 images, turned over at random by two workers."""
        number = HOSPITALS.index(client)
        transforms = Compose(
            [ScaleIntensityd(keys="image"), RandFlipd(keys=["image", "label"], prob=0.5, spatial_axis=0)]
        )
        return DataLoader(
            Dataset(_images(number, 1.0 + 0.2 * number, 48), transforms), batch_size=8, shuffle=True, num_workers=2
        )

    def train(self, model: nn.Module, client: str, data: DataLoader) -> None:
        """Two epochs with the Dice loss."""
        del client
        device = next(model.parameters()).device
        optimizer, loss = torch.optim.Adam(model.parameters(), lr=0.02), DiceLoss(sigmoid=True)
        model.train()
        for _ in range(2):
            for batch in data:
                optimizer.zero_grad()
                loss(model(batch["image"].to(device)), batch["label"].to(device)).backward()
                optimizer.step()

    def evaluate(self, model: nn.Module) -> Mapping[str, float]:
        """The Dice loss on images that everybody may see."""
        device = next(model.parameters()).device
        samples = [ScaleIntensityd(keys="image")(sample) for sample in _images(99, 1.1, 32)]
        images, labels = (torch.stack([sample[key] for sample in samples]).to(device) for key in ("image", "label"))
        model.eval()
        with torch.no_grad():
            return {"loss": float(DiceLoss(sigmoid=True)(model(images), labels))}


def _images(seed: int, brightness: float, count: int) -> list[Sample]:
    """Each a bright disc somewhere, in noise."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    samples = []
    for row, column in torch.randint(4, 12, (count, 2), generator=generator):
        label = ((rows - row) ** 2 + (columns - column) ** 2 < 12).float().unsqueeze(0)
        samples.append(
            {"image": brightness * label + 0.3 * torch.randn(1, 16, 16, generator=generator), "label": label}
        )
    return samples


def task() -> Segmentation:
    """verifl calls this."""
    return Segmentation()
