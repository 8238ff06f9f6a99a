"""A configuration and a task, written where a command is to find them."""

from __future__ import annotations

from pathlib import Path


def write_task(folder: Path, train: str = "pass", before: str = "", settings: str = "") -> Path:
    """config.toml and task.py in `folder`; the path of the first. train: what a client does in its turn, in one line;
    before: what comes before the class; settings: further lines of the configuration."""
    (folder / "task.py").write_text(
        f"""
import torch
{before}

class Mine:
    def clients(self): return ["x", "y", "z"]
    def model(self): return torch.nn.Linear(2, 1)
    def data(self, client): return None
    def train(self, model, client, data): {train}
    def evaluate(self, model): return {{}}

def task():
    return Mine()
""",
        encoding="utf-8",
    )
    config = folder / "config.toml"
    config.write_text(f'[task]\nfile = "task.py"\n{settings}', encoding="utf-8")
    return config
