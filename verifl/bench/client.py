"""One client's work from a trained update to a signed submission, phase by phase.

    quantize   clip and round to fixed point
    commit     four squares, then a commitment to each row
    expand     the round's public ring elements from its seed: once a round
    encrypt    key, noise, products, packing
    share      key and blindings shared among the trustees, each share sealed to its trustee
    bind       hashes of everything sent, which the proof signs
    prove      the validity proof
    sign       the signed log entry, and the blobs by the hashes that it names
    client     all of it

The functions of `protocols.rounds.submitting` in the order of `make`, which `verifl bench round` measures whole.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from proofs.engines import get_engine
from proofs.machine.workers import worker_count
from protocols import hpke
from protocols.blobs import blob_hash
from protocols.encoding import encode
from protocols.lattice import public
from protocols.messages import AtMost, Hash32, RoundKey
from protocols.rounds.submitting import (
    ClientRound,
    Parts,
    commit,
    describe,
    encrypt,
    prove,
    seal_shares,
    sent_blobs,
    share,
    sign,
)
from verifl.bench.setting import Setting, describe_setting, describe_sizes, in_units, make_setting, random_delta
from verifl.bench.stopwatch import Stopwatch

PACKAGE_LIMIT = 1 << 34
TRUSTEE = 0  # the one whose shares are handed on, by position in the policy
_ROUND = 1

Blob = Annotated[bytes, AtMost(PACKAGE_LIMIT)]


@dataclass(frozen=True)
class Submitted:
    """What a verifier and one trustee need of a client's submission."""

    entry: Annotated[bytes, AtMost(65535)]
    seed: Hash32  # of the round
    blobs: tuple[Blob, ...]  # all but the shares
    share_commitments: Blob
    sealed: Blob  # the trustee's share
    info: Blob  # what it is sealed under


def measure_client(
    dimension: int,
    clients: int,
    repeat: int,
    directory: str,
    encryption_proof: bool = False,
    coordinate_bound: float | None = None,
    private_weights: int | None = None,
    fraction_bits: int | None = None,
) -> dict[str, Any]:
    """Phases and bytes of a client, over max(clients, repeat) submissions and a warm-up.

    Leaves for `verifier`: policy.cbor, round-key (the trustee's private key) and one file for each of `clients`
    submissions in `directory`.
    """
    setting = make_setting(
        dimension,
        clients,
        encryption_proof=encryption_proof,
        coordinate_bound=coordinate_bound,
        private_weights=private_weights,
        fraction_bits=fraction_bits,
    )
    folder, watch = Path(directory), Stopwatch()
    measured = _Measured(setting, watch)
    measured.submit("client-00001")
    watch.clear()
    (folder / "policy.cbor").write_bytes(setting.pinned.data)
    (folder / "round-key").write_bytes(measured.private_key)
    for number in range(max(clients, repeat)):
        submitted = measured.submit(f"client-{number % clients + 1:05}")
        if number < clients:
            (folder / f"submission-{number}").write_bytes(encode(submitted, PACKAGE_LIMIT))
    return {
        "setting": describe_setting(setting.pinned),
        "phases": watch.phases(),
        "bytes": describe_sizes(setting.pinned, measured.entry_size),
        "threads": worker_count(),
    }


class _Measured:
    """A client that makes submissions, always for the same update and with everything else fresh."""

    def __init__(self, setting: Setting, watch: Stopwatch) -> None:
        self._setting, self._pinned, self._watch = setting, setting.pinned, watch
        self._engine, policy = get_engine("native"), setting.pinned.policy
        self._delta = random_delta(policy.dimension)
        keys = [hpke.generate_round_key(os.urandom) for _ in policy.trustees]
        self._round_keys = tuple(
            RoundKey(policy.federation, setting.pinned.hash, _ROUND, trustee.id, public_key, draw=None, rotation=None)
            for trustee, (_, public_key) in zip(policy.trustees, keys, strict=True)
        )
        self._round_open, self._seed = os.urandom(32), os.urandom(32)
        self.private_key = keys[TRUSTEE][0]
        self.entry_size = 0

    def submit(self, name: str) -> Submitted:
        """One whole submission, measured."""
        watch, engine, rand = self._watch, self._engine, os.urandom
        at = ClientRound(self._pinned, name, _ROUND, self._round_open, self._seed, self._round_keys)
        public.expand.cache_clear()  # once a round; a round has one submission of a client
        with watch.phase("client"):
            with watch.phase("quantize"):
                update = in_units(self._pinned, self._delta)
            with watch.phase("expand"):
                public.expand(self._pinned.lattice, self._seed, self._pinned.cells)
            with watch.phase("commit"):
                secrets = commit(engine, at, update, rand)
            with watch.phase("encrypt"):
                ciphertext = encrypt(at, secrets)
            with watch.phase("share"):
                shared = share(engine, at, secrets, rand)
                parts = Parts(ciphertext, shared.commitments, seal_shares(at, shared.shares))
            with watch.phase("bind"):
                message = describe(at, secrets.committed, parts)
            with watch.phase("prove"):
                proof = prove(engine, at, secrets, parts, message, rand)
            with watch.phase("sign"):
                signed = replace(message, proof=blob_hash(proof))
                package = sign(
                    signed, sent_blobs(secrets.committed, parts, proof), self._setting.enrolment.clients[name]
                )
        self.entry_size = len(package.entry)
        mine, sealed = set(parts.sealed), parts.sealed[TRUSTEE]
        blobs = tuple(blob for blob in package.blobs.values() if blob not in mine)
        info = at.share_info(self._pinned.policy.trustees[TRUSTEE].id)
        return Submitted(package.entry, self._seed, blobs, shared.commitments, sealed, info)
