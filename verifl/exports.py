"""Where each public name of `verifl` lives; they are imported on first use."""

from __future__ import annotations

HOMES = {
    "Abstain": "verifl.tasks.user_code",
    "Callback": "verifl.progress",
    "Config": "verifl.config",
    "Federation": "verifl.federation",
    "FederationResult": "verifl.federation",
    "Plan": "verifl.planning.plan",
    "Proximal": "verifl.tasks.proximal",
    "RoundSummary": "verifl.progress",
    "StatefulTask": "verifl.tasks.base",
    "Task": "verifl.tasks.base",
    "TensorFilter": "verifl.training.tensors",
    "Turn": "verifl.tasks.turns",
    "make_plan": "verifl.planning.plan",
    "share": "verifl.tasks.shares",
    "register_statistics": "verifl.training.roles",
}
