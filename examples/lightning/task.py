"""A LightningModule, trained by Lightning's Trainer as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

Batch = tuple[Tensor, Tensor]  # features (n, 4), targets (n, 1)
PLANTS = ["plant-1", "plant-2", "plant-3"]


class Regression(lightning.LightningModule):
    """A small network with batch normalisation. Its loss, optimiser and steps are Lightning's usual methods."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1))

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The loss of one batch."""
        del index
        loss = nn.functional.mse_loss(self.network(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Made anew for every turn of a client."""
        return torch.optim.Adam(self.parameters(), lr=0.01)


class Plants:
    """Three plants with measurements that differ a little."""

    def clients(self) -> Sequence[str]:
        """The plants."""
        return PLANTS

    def model(self) -> nn.Module:
        """The module itself: its parameters and running statistics travel."""
        return Regression()

    def data(self, client: str) -> DataLoader[Batch]:
        """Batches of 32."""
        number = PLANTS.index(client)
        return DataLoader(TensorDataset(*_measurements(number, 0.3 * number, 320)), batch_size=32, shuffle=True)

    def train(self, model: Regression, client: str, data: DataLoader[Batch]) -> None:
        """Two epochs, without the files and the output that Lightning makes by default."""
        del client
        trainer = lightning.Trainer(
            max_epochs=2,
            accelerator="gpu" if model.device.type == "cuda" else "cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, data)

    def evaluate(self, model: Regression) -> Mapping[str, float]:
        """The mean squared error on measurements that everybody may see."""
        features, targets = (each.to(model.device) for each in _measurements(99, 0.3, 400))
        model.eval()
        with torch.no_grad():
            return {"loss": float(nn.functional.mse_loss(model.network(features), targets))}


def _measurements(seed: int, shift: float, count: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 4, generator=generator) + shift
    return features, torch.sin(features[:, :1]) + 0.5 * features[:, 1:2] * features[:, 2:3]


def task() -> Plants:
    """verifl calls this."""
    return Plants()
