"""verifl in a Flower application: `ClientApp(mods=[verified])`, and `Verified(strategy, context)` in the ServerApp.

Needs the extra `verifl[flower]`. See docs/flower.md.
"""

from verifl.carriers.flower.mod import verified
from verifl.carriers.flower.simulation import enrol_simulation
from verifl.carriers.flower.strategy import Verified

__all__ = ["Verified", "enrol_simulation", "verified"]
