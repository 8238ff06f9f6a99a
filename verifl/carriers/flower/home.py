"""The coordinator's directory, which the run's configuration names: what the ServerApp opens, and nothing else.

config.toml                  [deadlines], and what else a coordinator's configuration has; may be missing
policy.cbor                  as the issuer signed it
policy.initial.safetensors   the model that came with it
state/                       identity.pem, and what the coordinator keeps
public/                      what everybody reads; a link, where a web server has it elsewhere
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError

from proofs.errors import Misuse
from protocols.blobs import blob_hash
from protocols.pinned import PinnedPolicy
from protocols.steps.doubles import Doubles
from protocols.steps.step import encode_model
from verifl.config import Config, parse_config
from verifl.tables import read_toml
from verifl.training.tensors import TensorLayout

COORDINATOR = "verifl-coordinator"


@dataclass(frozen=True)
class Home:
    """A coordinator's directory."""

    path: Path

    @classmethod
    def of(cls, run_config: Mapping[str, object]) -> Home:
        """As the configuration of the run names it; raises Misuse."""
        value = run_config.get(COORDINATOR)
        if not isinstance(value, str) or not Path(value).is_absolute():
            raise Misuse(f"{COORDINATOR}: expected the coordinator's directory as an absolute path, found {value!r}")
        if not Path(value).is_dir():
            raise Misuse(f"{COORDINATOR}: {value}: no such directory on this machine")
        return cls(Path(value))

    @property
    def policy(self) -> Path:
        """The signed policy."""
        return self.path / "policy.cbor"

    @property
    def state(self) -> Path:
        """The coordinator's own."""
        return self.path / "state"

    @property
    def public(self) -> Path:
        """What everybody reads."""
        return self.path / "public"

    def config(self) -> Config:
        """Its configuration; the defaults where it has none."""
        file = self.path / "config.toml"
        if not file.exists():
            return Config()
        return parse_config(read_toml(file, "leave it out for the defaults", "config.toml"), str(file))

    def initial(self, pinned: PinnedPolicy, layout: TensorLayout) -> Doubles:
        """The model before the first round, float64 (d,); raises Misuse where it is not the policy's."""
        from safetensors.numpy import load_file

        file = self.path / "policy.initial.safetensors"
        if not file.is_file():
            raise Misuse(f"{file}: no such file, expected the initial model that came with the policy")
        try:
            held = load_file(str(file))
        except SafetensorError as error:
            raise Misuse(f"{file}: expected a safetensors file: {error}") from None
        model = np.empty(layout.dimension)
        for spec, where in layout.slices():
            tensor = held.get(spec.name)
            if tensor is None or tensor.shape != spec.shape:
                raise Misuse(f"{file}: {spec.name!r}: expected a tensor of shape {spec.shape}; it is of another model")
            model[where] = tensor.reshape(-1)
        if blob_hash(encode_model(model)) != pinned.policy.initial_model:
            raise Misuse(f"{file}: is not the model that the policy pins; give the file that came with the policy")
        return model
