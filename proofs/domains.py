"""Every domain-separation tag of the project, in one place: two uses of a hash never share one."""

from __future__ import annotations

from typing import Final

GENERATOR: Final = b"verifl/v1/generator"
BLINDING_GENERATOR: Final = b"verifl/v1/blinding-generator"
ARGUMENT: Final = b"verifl/v1/short-vector-argument"
ARGUMENT_BATCH: Final = b"verifl/v1/short-vector-argument/batch"
NOISE_SIGNS: Final = b"verifl/v1/noise-signs"
SIGN_CONTEXT: Final = b"verifl/v1/sign-context"
ROUND_SEED: Final = b"verifl/v1/round-seed"
SUBMISSION: Final = b"verifl/v1/submission"
SHARE: Final = b"verifl/v1/encrypted-share"
ACKNOWLEDGEMENT: Final = b"verifl/v1/acknowledgement"
COHORT: Final = b"verifl/v1/cohort"
SUPPRESSION: Final = b"verifl/v1/suppression"
DRAW: Final = b"verifl/v1/draw"
DRAW_SEED: Final = b"verifl/v1/draw-seed"
DRAW_ORDER: Final = b"verifl/v1/draw-order"
OPENING: Final = b"verifl/v1/opening"
ENVELOPE: Final = b"verifl/v1/envelope"
PROPOSAL: Final = b"verifl/v1/proposal"
REHEARSAL: Final = b"verifl/v1/rehearsal"
PUBLIC_ELEMENT: Final = b"verifl/v1/public-element"
SHARE_BATCH: Final = b"verifl/v1/share-batch"
AUDITED: Final = b"verifl/v1/audited"
