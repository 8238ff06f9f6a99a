"""One client's work from a trained update to a signed submission, phase by phase.

    quantize   clip and round to fixed point
    commit     four squares, then a commitment to each row
    expand     the round's public ring elements from its seed: once a round
    encrypt    key, noise, products, packing
    share      key and blindings shared among the trustees, each share sealed to its trustee
    bind       hashes of everything sent, which the proof signs
    prove      the validity proof
    sign       the signed log entry
    client     all of it

The same calls in the same order as `protocols.rounds.client.Client.submit`, which `verifl bench round` measures whole.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from proofs.curve import POINT_SIZE
from proofs.encryption import EncryptionStatement
from proofs.engines import get_engine
from proofs.machine.workers import worker_count
from proofs.prover import Encrypted, prove
from proofs.randomness import uniform_scalar
from proofs.witness import CommittedUpdate, Noise, commit_update
from protocols import hpke, sharing
from protocols.blobs import blob_hash
from protocols.contexts import NO_PROOF, share_info, submission_context
from protocols.encoding import encode
from protocols.envelopes import seal
from protocols.lattice import encryption, public
from protocols.messages import AtMost, EncryptedShare, Hash32, Submission
from protocols.rounds.client import Draft, optional_hash
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


@dataclass(frozen=True)
class _Shared:
    commitments: bytes
    sealed: tuple[bytes, ...]


def measure_client(
    dimension: int,
    clients: int,
    repeat: int,
    directory: str,
    encryption_proof: bool = False,
    coordinate_bound: float | None = None,
) -> dict[str, Any]:
    """Phases and bytes of a client, over max(clients, repeat) submissions and a warm-up.

    Leaves for `verifier`: policy.cbor, round-key (the trustee's private key) and one file for each of `clients`
    submissions in `directory`.
    """
    setting = make_setting(dimension, clients, encryption_proof=encryption_proof, coordinate_bound=coordinate_bound)
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
        self._engine = get_engine("native")
        self._delta = random_delta(setting.pinned.policy.dimension)
        keys = [hpke.generate_round_key(os.urandom) for _ in setting.pinned.policy.trustees]
        self._round_keys = [public_key for _, public_key in keys]
        self._round_open, self._seed = os.urandom(32), os.urandom(32)
        self.private_key = keys[TRUSTEE][0]
        self.entry_size = 0

    def submit(self, name: str) -> Submitted:
        """One whole submission, measured."""
        watch = self._watch
        public.expand.cache_clear()  # once a round; a round has one submission of a client
        with watch.phase("client"):
            with watch.phase("quantize"):
                update = in_units(self._pinned, self._delta)
            with watch.phase("expand"):
                elements = public.expand(self._pinned.lattice, self._seed, self._pinned.cells)
            with watch.phase("commit"):
                draft = self._draft(elements, update)
            with watch.phase("encrypt"):
                residues = self._encrypt(elements, draft)
                ciphertext = encryption.pack(self._pinned.lattice, residues)
            with watch.phase("share"):
                shared = self._share(name, draft)
            with watch.phase("bind"):
                submission = self._submission(name, draft.committed, ciphertext, shared)
                context = submission_context(submission)
                statement = self._statement(elements, residues, submission.ciphertext, shared)
            with watch.phase("prove"):
                encrypted = None if statement is None else Encrypted(statement, draft.share_blinding)
                proof = prove(self._engine, self._pinned.argument, draft.committed, context, os.urandom, encrypted)
            with watch.phase("sign"):
                signer = self._setting.enrolment.clients[name]
                entry = seal(replace(submission, proof=blob_hash(proof)), name, signer)
        self.entry_size = len(entry)
        info, sealed = self._info(name, TRUSTEE), shared.sealed[TRUSTEE]
        blobs = (*draft.commitments, ciphertext, shared.commitments, proof)
        return Submitted(entry, self._seed, blobs, shared.commitments, sealed, info)

    def _draft(self, elements: public.PublicElements, update: NDArray[np.int64]) -> Draft:
        key = encryption.generate_key(self._pinned.lattice, os.urandom)
        errors = encryption.draw_errors(elements, os.urandom)
        noise = Noise(key, errors) if self._pinned.argument.encryption is not None else None
        committed = commit_update(self._engine, self._pinned.argument, update, os.urandom, noise)
        return Draft(committed, key, errors, uniform_scalar(os.urandom))

    def _encrypt(self, elements: public.PublicElements, draft: Draft) -> NDArray[np.int64]:
        return encryption.encrypt_with(self._pinned.lattice, elements, draft.key, draft.committed.message, draft.errors)

    def _statement(
        self, elements: public.PublicElements, residues: NDArray[np.int64], ciphertext_hash: bytes, shared: _Shared
    ) -> EncryptionStatement | None:
        if self._pinned.argument.encryption is None:
            return None
        return EncryptionStatement(elements.elements, residues, ciphertext_hash, shared.commitments[:POINT_SIZE])

    def _share(self, name: str, draft: Draft) -> _Shared:
        policy = self._pinned.policy
        secret = [*sharing.pack_key(draft.key), *draft.committed.blindings]
        trustees, threshold = len(policy.trustees), policy.threshold
        commitments, shares = sharing.share_secret(
            self._engine, secret, trustees, threshold, os.urandom, draft.share_blinding
        )
        sealed = (
            hpke.seal(self._round_keys[position], self._info(name, position), share.encode())
            for position, share in enumerate(shares)
        )
        return _Shared(commitments, tuple(sealed))

    def _info(self, name: str, position: int) -> bytes:
        policy = self._pinned.policy
        return share_info(policy.federation, _ROUND, self._round_open, name, policy.trustees[position].id)

    def _submission(self, name: str, committed: CommittedUpdate, ciphertext: bytes, shared: _Shared) -> Submission:
        policy = self._pinned.policy
        shares = [
            EncryptedShare(trustee.id, blob_hash(sealed))
            for trustee, sealed in zip(policy.trustees, shared.sealed, strict=True)
        ]
        return Submission(
            federation=policy.federation,
            round=_ROUND,
            round_open=self._round_open,
            client=name,
            commitments=blob_hash(committed.commitments),
            ciphertext=blob_hash(ciphertext),
            share_commitments=blob_hash(shared.commitments),
            shares=tuple(shares),
            proof=NO_PROOF,
            coordinate_range=optional_hash(committed.range_commitments),
            encryption_proof=optional_hash(committed.encryption_commitments),
            weight=None,
            noise=None,
        )
