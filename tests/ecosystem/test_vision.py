"""`model.safetensors` in models of timm, torchvision and MONAI, by these libraries' own means where they have any."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.ecosystem.filled import differing, filled
from tests.ecosystem.packages import needs
from verifl.training.model_files import write_model

pytestmark = pytest.mark.ecosystem


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_efficientnet"])
@pytest.mark.parametrize("compiled", [False, True])
def test_timm_takes_it_as_a_checkpoint(name: str, compiled: bool, tmp_path: Path) -> None:
    needs("timm")
    import timm

    model = filled(timm.create_model(name, pretrained=False, num_classes=3))
    path = tmp_path / "model.safetensors"
    write_model(torch.compile(model, backend="eager") if compiled else model, path, {})
    loaded = timm.create_model(name, pretrained=False, num_classes=3, checkpoint_path=str(path))
    assert differing(loaded.state_dict(), model.state_dict()) == []


def torchvision_model(name: str) -> Callable[[], Any]:
    def build() -> Any:
        needs("torchvision")
        import torchvision

        return torchvision.models.get_model(name, weights=None, num_classes=3)

    return build


def monai_model(name: str, *given: Any, **named: Any) -> Callable[[], Any]:
    def build() -> Any:
        needs("monai")
        from monai.networks import nets

        return getattr(nets, name)(*given, **named)

    return build


PLAIN = {
    "shufflenet_v2_x0_5": torchvision_model("shufflenet_v2_x0_5"),
    "mobilenet_v3_small": torchvision_model("mobilenet_v3_small"),
    "UNet": monai_model("UNet", 2, 1, 2, channels=(4, 8, 16), strides=(2, 2), num_res_units=1, norm="batch"),
    "AttentionUnet": monai_model("AttentionUnet", 2, 1, 2, channels=(4, 8), strides=(2,)),
    "DenseNet": monai_model("DenseNet", 2, 1, 2, init_features=8, growth_rate=4, block_config=(2, 2)),
}


@pytest.mark.parametrize("name", PLAIN)
def test_load_state_dict_takes_it_strictly(name: str, tmp_path: Path) -> None:
    model = filled(PLAIN[name]())
    write_model(model, tmp_path / "model.safetensors", {})
    loaded = PLAIN[name]()
    loaded.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert differing(loaded.state_dict(), model.state_dict()) == []
