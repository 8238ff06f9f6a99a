"""The reference engine: plain Python integers and py_ecc's secp256k1, written for the reader (spec 5.2).

The twin that the native engine is compared with; it shares no arithmetic with it. Milliseconds for what the native
engine does in a fraction of a microsecond, so meant for dimensions of a few hundred.
"""

from __future__ import annotations

from proofs.reference.engine import ReferenceEngine

__all__ = ["ReferenceEngine"]
