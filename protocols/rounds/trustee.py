"""A trustee: it keeps the log honest before anything leaks, and releases one sum a round (spec 8.4 to 8.10).

What it keeps in its store: see `protocols.rounds.trustee_holdings`. A decision is there before anybody hears of it, so
a crash at any point loses nothing that was said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from proofs.engine import Engine
from proofs.errors import Malformed, Rejected
from proofs.randomness import Randomness
from protocols import hpke, sharing
from protocols.approvals import check_approvals
from protocols.contexts import share_info
from protocols.envelopes import Entry, seal
from protocols.holdings import bind
from protocols.identities import SigningKey
from protocols.log.checkpoint import Checkpoint, check_note, check_own, cosign, parse_note
from protocols.membership import key_in_force, require_own_key
from protocols.messages import (
    Dispute,
    Genesis,
    Release,
    RoundAborted,
    RoundKey,
    ShareAck,
    Submission,
)
from protocols.participation import draw_proof
from protocols.pinned import PinnedPolicy
from protocols.reasons import NO_QUORUM, SHARE_ENCODING
from protocols.rounds.evidence import NO_EVIDENCE, Evidence, outdated, own_checkpoint, own_messages
from protocols.rounds.exchange import ReleasePackage
from protocols.rounds.follower import Follower
from protocols.rounds.ledger import CurrentRound, Ledger, LoggedSubmission, draw_key
from protocols.rounds.releasing import (
    acknowledged,
    check_release,
    closed_cohort,
    draft_ack,
    sign_release,
    sum_held,
)
from protocols.rounds.round_secrets import RoundSecrets
from protocols.rounds.trustee_holdings import ACK, LOG, RELEASE, SHOWN, Shown, StoredRelease
from protocols.rounds.waits import Waits
from protocols.stores import Store
from protocols.submissions import BlobSource, read_blob, without_blobs

ERASED = "erased"  # the check by which it says nothing more in a round


@dataclass(frozen=True)
class _Passed:
    """What entries that passed by leave. genesis: if it was among them. blaming: the last round that was aborted for
    want of acknowledgements, and its submissions."""

    log: Follower
    genesis: Genesis | None
    blaming: tuple[int, int] | None


class Trustee:
    """One trustee of one federation. Methods raise Rejected for what the log or the coordinator did wrong, Misuse for
    what the caller did."""

    def __init__(
        self,
        pinned: PinnedPolicy,
        identity: SigningKey,
        name: str,
        store: Store,
        engine: Engine,
        rand: Randomness,
        waits: Waits,
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
        self._waits, self._secrets = waits, RoundSecrets(store, waits)
        self._log = LOG.get(store) or Follower.start()
        require_own_key(self._log.ledger.membership, name, pinned.trustee_key(name), self._keys)
        self._check_remembers(evidence)
        self._clear()

    @property
    def name(self) -> str:
        """The trustee's id in the policy."""
        return self._name

    @property
    def size(self) -> int:
        """Entries of the log that it has seen: the next observation starts there."""
        return self._log.size

    @property
    def ledger(self) -> Ledger:
        """What these entries say."""
        return self._log.ledger

    @property
    def lacks(self) -> bytes | None:
        """Between rounds, the public key by which it is to draw clients for the next one, if it does not hold it: it
        then takes part without giving a value."""
        ledger = self._log.ledger
        if ledger.current is not None or ledger.closed is not None:
            return None
        due = draw_key(self._pinned, ledger, self._name)
        return None if due is None or any(key.public_key == due for key in self._keys) else due

    def head(self, note: bytes) -> Checkpoint:
        """Of what a note is, if it has the log's own signature: who may have cosigned it is known only after following
        the log there. Raises Malformed, Rejected("checkpoint-...")."""
        return check_own(parse_note(note), self._pinned.policy.log_key, self._pinned.policy.origin)

    def round_key(self, number: int) -> bytes:
        """The signed RoundKey of the next round, or again of the open one: the same bytes, until the key is erased.

        A key that was made under an identity key which is not in force any more is never used, nor one that is older
        than a trustee keeps it: another takes its place. Raises Rejected("round") for any other round, or an open one
        that it has no key for; Rejected("erased") if it erased the round's secrets.
        """
        self.expire()
        ledger, identity = self._log.ledger, self._identity
        if number != ledger.next_round or number > self._pinned.policy.max_rounds:
            expected = f"{ledger.next_round}, at most {self._pinned.policy.max_rounds}"
            raise Rejected("round", expected, str(number))
        self._check_kept(number)
        if ledger.current is not None and self._secrets.private_key(number) is None:
            raise Rejected("round", f"{number + 1}, once round {number} is over", f"{number}, which has no key of its")
        private = self._secrets.pending_key(number, identity.public_key, self._rand)
        draw = draw_proof(self._pinned, number, draw_key(self._pinned, ledger, self._name), self._keys)
        public = hpke.public_key(private)
        message = RoundKey(
            self._pinned.policy.federation, self._pinned.hash, number, self._name, public, draw, rotation=None
        )
        return seal(message, self._name, identity)

    def expire(self) -> None:
        """Erase what it has kept for as long as it may: to be called now and then where nothing else is asked of it."""
        current, kept = self._log.ledger.current, None
        if current is not None:
            kept = current.number
            if self._secrets.has_expired(kept):
                self.erase(kept)
        try:
            identity = self._identity.public_key
        except Rejected:
            identity = b""  # revoked, or robbed: no key is to be used any more
        self._secrets.drop_pending(kept, identity)

    def observe(
        self, note: bytes, entries: Iterable[bytes], timestamp: int, blobs: BlobSource = without_blobs
    ) -> bytes:
        """Follow the log to a checkpoint and cosign it.

        note: the checkpoint, signed by the log, other cosignatures allowed. entries: those after `size`, up to the
        checkpoint, read once and one at a time. timestamp: POSIX seconds, for the cosignature.
        1. The checkpoint is this log's, signed by its key: "checkpoint-...".
        2. It is not smaller than what this trustee saw: "rollback".
        3. The entries are those in between, each admitted by the rules: "entries", or the rule's name.
        4. They lead to the checkpoint's root: "fork".
        5. Every other cosignature is by a trustee in force there: "checkpoint-...". All parties whose approval the
        policy demands have given it, as the blob shows that Genesis names: "approvals".
        6. A round that is aborted for `no-quorum` was not aborted too early, unless t trustees cosigned: "quorum-wait".
        7. The new state is durable, the secrets of a round that ended are erased; all at federation-closed.
        8. Its own key in force is one that it holds: "revoked", "own-key". Then comes the signature.
        Raises Malformed or Rejected; before 7, nothing has changed then, but that it notes when it was shown what 6 is
        about.
        """
        head = self.head(note)
        if head.size < self._log.size:
            raise Rejected("rollback", f"at least {self._log.size} entries", str(head.size))
        passed = self._passed(entries, head.size)
        followed = passed.log
        if followed.root() != head.root:
            raise Rejected("fork", followed.root().hex(), head.root.hex())
        policy = self._pinned.policy
        cosigners = check_note(parse_note(note), policy.log_key, followed.ledger.membership.trustees(policy), 0)
        if passed.genesis is not None and passed.genesis.approvals is not None:
            check_approvals(self._pinned, read_blob(blobs, passed.genesis.approvals, self._pinned.approvals_size))
        if len(cosigners) < policy.threshold and passed.blaming is not None:
            self._check_waited(*passed.blaming)
        if followed.size > self._log.size:
            LOG.put(self._store, followed)
            self._log = followed
        self._clear()
        if followed.ledger.current is not None:
            self._shown_at(followed.ledger.current.number, len(followed.ledger.current.submissions))
        return cosign(head, self._name, self._identity, timestamp)

    def _passed(self, entries: Iterable[bytes], size: int) -> _Passed:
        """Follow the log over entries up to `size`; of them nothing is kept but what the rules keep. Of several aborts
        that blame somebody the last is looked at: whoever was shown its round was shown the rounds before, and only one
        time is kept."""
        log, genesis, blaming = self._log, None, None
        expected = f"{size - log.size} after {log.size}"
        for entry in entries:
            if log.size == size:
                raise Rejected("entries", expected, "more")
            opened, before = Entry.open(entry), log.ledger.current
            log = log.after(self._pinned, [opened])
            message = opened.message
            if isinstance(message, Genesis):
                genesis = message
            elif isinstance(message, RoundAborted) and message.reason == NO_QUORUM and before is not None:
                blaming = message.round, len(before.submissions)
        if log.size != size:
            raise Rejected("entries", expected, str(log.size - self._log.size))
        return _Passed(log, genesis, blaming)

    def acknowledge(self, number: int, note: bytes, blobs: BlobSource) -> bytes:
        """The signed ShareAck of the open round over what this trustee has seen of it; once a round, the same bytes.

        note: the published checkpoint of just that, with cosignatures by t trustees in force.
        Each client's first submission is acknowledged if its share decrypts and opens its commitments, disputed if
        it does not, and left out if the blobs could not be had: a coordinator that withholds them proves nothing
        against a client. The shares are durable before the acknowledgement is.
        Raises Rejected("order") outside the open round, ("unpublished"), ("fork"), ("checkpoint-...") for a note that
        does not cover what it has seen, ("erased") after its deadline, ("round-key") if the log has another key of its
        own.
        """
        self.expire()
        stored = ACK.get(self._store, number)
        if stored is not None:
            return stored
        current = self._current(number)
        if current.cohort is not None:
            raise Rejected("order", "acknowledgements before the cohort is closed", f"round {number} is closed")
        self._check_published(note)
        self._check_kept(number)
        private = self._private_key(current)
        held, disputed = self._examine(current, private, blobs)
        message = draft_ack(self._pinned, current, self._name, held.keys(), disputed)
        entry = seal(message, self._name, self._identity)
        self._secrets.hold(number, b"".join(held[index].encode() for index in message.acknowledged))
        ACK.put(self._store, number, entry)
        return entry

    def release(self, number: int, note: bytes, blobs: BlobSource) -> ReleasePackage:
        """The sum of the shares of the round's cohort, signed; one cohort a round, the same bytes when asked again.

        1. The log it cosigned has closed this round's cohort: "order". (Then the rules have checked digest, sizes,
           the choice of A and Q, and the abort cap.) `note` is the published checkpoint of just that log, with
           cosignatures by t trustees in force: "unpublished", "fork", "checkpoint-...".
        2. It has released no other cohort in this round, before or after any crash: "released".
        3. It is asked: "release".
        4. A is within its own acknowledgement: "unacknowledged".
        5. |A| >= min_cohort: "cohort-size".
        6. The cohorts opened on this model nest: "differencing".
        7. The model is what the last round made: "lineage".
        8. The decision is durable, the round's secrets are erased, then the release is returned.
        After its deadline it has nothing to release: "erased". blobs is read for rule 7, and where rule 6 depends on
        the fault of an excluded submission.
        """
        self.expire()
        current = self._current(number)
        cohort = closed_cohort(current)
        digest = cohort.message.digest
        stored = RELEASE.get(self._store, number)
        if stored is not None:
            if stored.digest != digest:
                raise Rejected("released", f"the cohort {stored.digest.hex()}", digest.hex())
            self.erase(number)  # again: a crash may have come before it
            return stored.release()
        self._check_published(note)
        self._check_kept(number)
        held = acknowledged(ACK.get(self._store, number))
        check_release(self._engine, self._pinned, self._name, self._log.ledger, held, blobs)
        share = self._summed(number, held, cohort.message.accepted)
        release = sign_release(self._pinned, number, cohort, self._name, share, self._identity)
        RELEASE.put(self._store, number, StoredRelease(digest, release.entry, release.blob))
        self.erase(number)
        return release

    def erase(self, number: int) -> None:
        """Delete the private keys and shares of every round up to `number`, for good."""
        self._secrets.erase(number)

    def _check_remembers(self, evidence: Evidence) -> None:
        """It has said nothing that its store does not know: Rejected("outdated-state"), ("fork")."""
        own = (self._pinned, self._name, self._keys)
        head, known = own_checkpoint(*own, evidence), f"{self._log.size} log entries"
        if head is not None and head.size > self._log.size:
            raise outdated(self._name, f"a cosignature under {head.size} entries", known)
        if head is not None and head.size == self._log.size and head.root != self._log.root():
            raise Rejected("fork", self._log.root().hex(), head.root.hex())
        for entry, message in own_messages(*own, evidence.entries, first=self._over + 1):
            if isinstance(message, Submission):
                continue
            kind = ACK.name if isinstance(message, ShareAck) else RELEASE.name
            if self._said(message) != entry:
                raise outdated(self._name, f"its {kind} of round {message.round}", f"{known}, and no such {kind}")

    def _said(self, like: ShareAck | Release) -> bytes | None:
        """Its acknowledgement or release of the round of `like`, one that is not over."""
        if isinstance(like, ShareAck):
            return ACK.get(self._store, like.round)
        stored = RELEASE.get(self._store, like.round)
        return None if stored is None else stored.entry

    @property
    def _over(self) -> int:
        """The last round that has ended, by the log that it follows; 0 for none."""
        ledger = self._log.ledger
        return ledger.rounds - (ledger.current is not None)

    def _clear(self) -> None:
        """Nothing is left of a round that has ended, nor of any round if it was revoked or the federation is closed:
        again at every start, as a crash may have come between the log and the erasure."""
        if self._over > self._secrets.erased:
            self.erase(self._over)
        self._secrets.forget()
        self._drop_records(self._over)
        if self._log.ledger.current is None:
            SHOWN.delete(self._store)
        if self._revoked() or self._log.ledger.closed is not None:
            self.erase(self._pinned.policy.max_rounds)
        self.expire()

    def _check_published(self, note: bytes) -> None:
        """A checkpoint of all that it has seen has its quorum."""
        parsed, policy = parse_note(note), self._pinned.policy
        head = parsed.checkpoint
        if head.size != self._log.size:
            raise Rejected("unpublished", f"a published checkpoint of {self._log.size} entries", str(head.size))
        if head.root != self._log.root():
            raise Rejected("fork", self._log.root().hex(), head.root.hex())
        trustees = self._log.ledger.membership.trustees(policy)
        check_note(parsed, policy.log_key, trustees, policy.threshold, origin=policy.origin)

    def _check_kept(self, number: int) -> None:
        if number <= self._secrets.erased:
            raise Rejected(ERASED, f"the secrets of round {number}, which it keeps for a while", "they were erased")

    def _check_waited(self, number: int, submissions: int) -> None:
        """Nobody is blamed for an acknowledgement that nobody waited for."""
        waited = self._waits.clock() - self._shown_at(number, submissions)
        if waited < self._waits.quorum:
            expected = f"{self._waits.quorum} seconds from round {number}'s last submission"
            raise Rejected("quorum-wait", expected, f"an abort after {waited}")

    def _shown_at(self, number: int, submissions: int) -> int:
        """When it was first shown so many submissions of a round: now, if never before or by a clock ahead."""
        shown, now = SHOWN.get(self._store), self._waits.clock()
        if shown is None or (shown.round, shown.submissions) != (number, submissions) or shown.at > now:
            shown = Shown(number, submissions, now)
            SHOWN.put(self._store, shown)
        return shown.at

    @property
    def _identity(self) -> SigningKey:
        """Its key in force, by the log it follows; raises Rejected("revoked"), ("own-key")."""
        enrolled = self._pinned.trustee_key(self._name)
        return key_in_force(self._log.ledger.membership, self._name, enrolled, self._keys)

    def _revoked(self) -> bool:
        standing = self._log.ledger.membership.standing(self._name)
        return standing is not None and standing.public_key is None

    def _current(self, number: int) -> CurrentRound:
        current = self._log.ledger.current
        if current is None or current.number != number:
            found = "none" if current is None else str(current.number)
            raise Rejected("order", f"round {number} to be open", found)
        return current

    def _private_key(self, current: CurrentRound) -> bytes:
        own = next((key.public_key for key in current.keys if key.trustee == self._name), None)
        private = self._secrets.private_key(current.number)
        if own is None or private is None or hpke.public_key(private) != own:
            found = "none" if own is None else "one whose private key it does not have"
            raise Rejected("round-key", f"the key of {self._name} for round {current.number}", found)
        return private

    def _examine(
        self, current: CurrentRound, private: bytes, blobs: BlobSource
    ) -> tuple[dict[int, sharing.Share], list[Dispute]]:
        """(verified shares by log index, disputes) over the submissions whose blobs can be had."""
        opened: list[tuple[int, sharing.Share, bytes]] = []
        disputes: list[Dispute] = []
        for each in current.first_submissions():
            found = self._open_share(current, each, private, blobs)
            if isinstance(found, Dispute):
                disputes.append(found)
            elif found is not None:
                opened.append((each.index, *found))
        indices, shares, commitments = zip(*opened, strict=True) if opened else ((), (), ())
        point, threshold = self._pinned.share_point(self._name), self._pinned.policy.threshold
        verdicts = sharing.verify_shares(self._engine, point, shares, commitments, threshold)
        held = dict(zip(indices, shares, strict=True))
        for index, verdict in zip(indices, verdicts, strict=True):
            if verdict is not None:
                del held[index]
                disputes.append(Dispute(index, verdict.check))
        return held, disputes

    def _open_share(
        self, current: CurrentRound, submission: LoggedSubmission, private: bytes, blobs: BlobSource
    ) -> tuple[sharing.Share, bytes] | Dispute | None:
        """The decrypted share with the commitments it must open; a dispute; or None if a blob cannot be had."""
        message = submission.message
        mine = next(share.blob for share in message.shares if share.trustee == self._name)
        try:
            sealed = read_blob(blobs, mine, self._pinned.sealed_share_size)
            commitments = read_blob(blobs, message.share_commitments, self._pinned.share_commitments_size)
        except Rejected:
            return None
        info = share_info(message.federation, message.round, current.entry, message.client, self._name)
        try:
            clear = hpke.open_sealed(private, info, sealed)
            return sharing.Share.decode(clear, self._pinned.secret_length), commitments
        except Rejected as error:
            return Dispute(submission.index, error.check)
        except Malformed:
            return Dispute(submission.index, SHARE_ENCODING)

    def _summed(self, number: int, held: Sequence[int], wanted: Sequence[int]) -> sharing.Share:
        shares = self._secrets.held(number)
        if shares is None:
            raise Rejected(ERASED, f"the shares of round {number}", "they were erased")
        return sum_held(self._pinned, shares, held, wanted)

    def _drop_records(self, number: int) -> None:
        """What was said in rounds that are over is in the log."""
        for said in (ACK, RELEASE):
            for of in said.rounds(self._store):
                if of <= number:
                    said.delete(self._store, of)
