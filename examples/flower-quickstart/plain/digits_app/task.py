"""The model, the data of each site, and how it is trained: nothing here knows how the sites are brought together."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(64, 32)
        self.output = nn.Linear(32, 10)

    def forward(self, images):
        return self.output(torch.relu(self.hidden(images)))


def load_site(number, sites):
    """The images and labels of one site of several; the last of them all, for nobody's training, is site -1."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(7).permutation(len(labels))
    held_out, rest = order[:360], order[360:]
    part = held_out if number < 0 else rest[number::sites]
    return torch.tensor(images[part] / 16.0, dtype=torch.float32), torch.tensor(labels[part])


def train(model, data, epochs, learning_rate):
    """Train in place; the mean loss of the last epoch."""
    images, labels = data
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=0.9)
    model.train()
    losses = []
    for _ in range(epochs):
        losses = []
        for batch in torch.randperm(len(labels)).split(32):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return sum(losses) / len(losses)


def accuracy(model, data):
    images, labels = data
    model.eval()
    with torch.no_grad():
        return (model(images).argmax(dim=1) == labels).float().mean().item()
