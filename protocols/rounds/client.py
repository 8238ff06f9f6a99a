"""A client: it believes a round only after checking it, and answers it once (spec 8.4 and 8.5).

What it keeps in its store: see `protocols.rounds.client_holdings`. The submission is there before anybody hears of it,
and after a crash the same bytes are sent again: never a second proof or ciphertext for one round, never a second round
key for one share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proofs.engine import Engine
from proofs.errors import Misuse, Rejected
from proofs.randomness import Randomness
from protocols.hashes import sha256
from protocols.holdings import bind
from protocols.identities import SigningKey
from protocols.invitation import Invitation, VerifiedRound, check_model, verify_invitation
from protocols.membership import ENROLLED, Membership, key_in_force, require_own_key
from protocols.messages import Submission
from protocols.pinned import PinnedPolicy
from protocols.rounds.client_holdings import ANSWER, SEEN, WEIGHED, KeptAnswer, Seen, Weighed, WeighedModel
from protocols.rounds.evidence import NO_EVIDENCE, Evidence, outdated, own_messages
from protocols.rounds.exchange import SubmissionPackage
from protocols.rounds.submitting import ClientRound, Update, make
from protocols.steps.step import decode_model
from protocols.stores import Store
from protocols.weights import check_own_weight, check_same_weight, vector_of


@dataclass(frozen=True)
class OpenRound:
    """A round that a client has verified and may answer; `model` float64 (d,) is what to train from."""

    verified: VerifiedRound
    model: NDArray[np.float64]

    @property
    def number(self) -> int:
        """The round's number."""
        return self.verified.message.round


class Client:
    """One client of one federation. Methods raise Malformed or Rejected for what it was shown, Misuse for what the
    caller did."""

    def __init__(
        self,
        pinned: PinnedPolicy,
        identity: SigningKey,
        name: str,
        store: Store,
        engine: Engine,
        rand: Randomness,
        successors: Sequence[SigningKey] = (),
        evidence: Evidence = NO_EVIDENCE,
    ) -> None:
        """successors: keys that a rotation put in the place of `identity`, or will. evidence: what it has said.

        Raises Rejected("store-policy") for a store of another policy, ("outdated-state") if it has said more than its
        store knows, Misuse without its key in force.
        """
        self._pinned, self._keys, self._name = pinned, (identity, *successors), name
        self._store, self._engine, self._rand = store, engine, rand
        bind(store, pinned.hash)
        require_own_key(self._membership(), name, pinned.client_key(name), self._keys)
        self._check_remembers(evidence)

    @property
    def name(self) -> str:
        """The client's id in the policy."""
        return self._name

    @property
    def last_seen(self) -> int:
        """Size of the newest checkpoint it has verified, 0 for none: what an invitation must extend."""
        seen = self._seen()
        return 0 if seen is None else seen.size

    @property
    def last_answered(self) -> int:
        """Number of the last round that it made a submission to, 0 for none."""
        answer = self._answer()
        return 0 if answer is None else answer.round

    @property
    def known_changes(self) -> int:
        """How many changes of the membership it has verified."""
        return self._membership().count

    def accept(self, invitation: Invitation, model: bytes) -> OpenRound:
        """Verify an invitation (spec 8.4) and the model blob; remember the checkpoint.

        1. The invitation holds by itself and against the checkpoint seen last: see `verify_invitation`.
        2. The round comes after every round answered, or is the last one answered itself: "round", "round-answered".
        3. Its own key in force is one that it holds: "revoked", "own-key".
        4. The model is the one that RoundOpen names, d finite doubles: "model", Malformed.
        """
        seen = self._seen()
        last = None if seen is None else (seen.size, seen.root)
        verified = verify_invitation(self._pinned, invitation, last, self._membership())
        self._check_unanswered(verified)
        key_in_force(verified.membership, self._name, self._pinned.client_key(self._name), self._keys)
        check_model(self._pinned, verified.message, model)
        vector = decode_model(model, self._pinned.policy.dimension)
        self._remember(verified)
        return OpenRound(verified, vector)

    def answered(self, opened: OpenRound) -> SubmissionPackage | None:
        """The submission made to this round before, to be sent again; None if there is none.

        Raises Rejected("round-answered") where another RoundOpen of this number was answered.
        """
        self._check_unanswered(opened.verified)
        answer = self._answer()
        return answer.package() if answer is not None and answer.round == opened.number else None

    def weight_on(self, opened: OpenRound) -> int | None:
        """The weight of its last answer on this model, which may have come back since: it has to be the same; None for
        none."""
        before = self._weighed().on(opened.verified.message.model)
        return None if before is None else before.weight

    def submit(self, opened: OpenRound, update: Update, weight: int | None = None) -> SubmissionPackage:
        """The one submission to this round for `update`, int64 (d,) in fixed-point units of norm at most B; where the
        policy has weights, for `update` of this weight w, of norm at most w B, which is stated or hidden.

        Durable before it is returned, the same bytes when called again. Raises Misuse for an update beyond the bound, a
        weight that may not be stated, another than `weight_on` says, or another answer than the one given before;
        Rejected as `answered`.
        """
        digest = sha256(np.ascontiguousarray(update, dtype="<i8").tobytes())
        self._check_unanswered(opened.verified)
        answer = self._answer()
        if answer is None or answer.round != opened.number:
            self._check_weight(opened, weight)
            answer = self._make_answer(opened.verified, update, digest, weight)
            self._keep_weight(opened, weight)
            ANSWER.put(self._store, answer)
        if (answer.update, answer.weight) != (digest, weight):
            what = "update" if answer.weight == weight else "weight"
            raise Misuse(f"round {opened.number} was answered with another {what}: send `answered` again")
        return answer.package()

    def _check_weight(self, opened: OpenRound, weight: int | None) -> None:
        try:
            alone = self._name in self._pinned.noise_trustees
            check_own_weight(self._pinned.policy.weights, weight, noise_alone=alone)
            if (before := self._weighed().on(opened.verified.message.model)) is not None:
                check_same_weight(before.weight, before.round, weight)
        except Rejected as error:
            raise Misuse(f"weight: expected {error.expected}, found {error.found}") from None

    def _keep_weight(self, opened: OpenRound, weight: int | None) -> None:
        """Before the answer is kept: no answer goes out whose weight may be forgotten."""
        if weight is not None:
            kept = WeighedModel(opened.verified.message.model, opened.number, weight)
            WEIGHED.put(self._store, self._weighed().after(kept))

    def _weighed(self) -> Weighed:
        return WEIGHED.get(self._store) or Weighed()

    def _make_answer(self, verified: VerifiedRound, update: Update, digest: bytes, weight: int | None) -> KeptAnswer:
        at = ClientRound.of(self._pinned, verified, self._name, weight)
        vector = vector_of(self._pinned.policy.weights, update, weight)
        package = make(self._engine, at, vector, self._identity, self._rand)
        return KeptAnswer(at.number, at.round_open, digest, weight, package.entry, tuple(package.blobs.values()))

    def _check_remembers(self, evidence: Evidence) -> None:
        """It has made no submission that its store does not know, or a later one."""
        answer = self._answer()
        first = 1 if answer is None else answer.round
        for entry, message in own_messages(self._pinned, self._name, self._keys, evidence.entries, first):
            if not isinstance(message, Submission):
                continue
            if answer is None or entry != answer.entry:
                known = "no submission" if answer is None else f"its submission to round {answer.round}"
                raise outdated(self._name, f"a submission to round {message.round}", f"{known}, and not that one")

    def _check_unanswered(self, verified: VerifiedRound) -> None:
        answer = self._answer()
        if answer is None:
            return
        number = verified.message.round
        if number < answer.round:
            raise Rejected("round", f"{answer.round} or later", str(number))
        if number == answer.round and verified.entry_hash != answer.round_open:
            raise Rejected("round-answered", answer.round_open.hex(), verified.entry_hash.hex())

    def _remember(self, verified: VerifiedRound) -> None:
        checkpoint = verified.checkpoint
        if checkpoint.size > self.last_seen:
            SEEN.put(self._store, Seen(checkpoint.size, checkpoint.root, verified.membership))

    def _seen(self) -> Seen | None:
        return SEEN.get(self._store)

    def _membership(self) -> Membership:
        """As of the last round that it believed."""
        seen = self._seen()
        return ENROLLED if seen is None else seen.membership

    @property
    def _identity(self) -> SigningKey:
        return key_in_force(self._membership(), self._name, self._pinned.client_key(self._name), self._keys)

    def _answer(self) -> KeptAnswer | None:
        return ANSWER.get(self._store)
