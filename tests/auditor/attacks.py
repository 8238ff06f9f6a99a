"""Attacks on whole transcripts, by a server that holds the log key and, where it needs them, everybody else's: each
with its own failing checks, and the transcript that it starts from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from protocols.blobs import blob_hash
from protocols.contexts import round_seed
from protocols.log.checkpoint import add_cosignatures, cosign, parse_note, sign_checkpoint
from protocols.messages import (
    Aggregate,
    CohortClosed,
    Exclusion,
    Genesis,
    MissingParty,
    Release,
    RoundAborted,
    RoundClosed,
    RoundKey,
    RoundOpen,
    ShareAck,
    Submission,
)
from protocols.steps import step as server_steps
from tests.auditor.conftest import flipped
from tests.auditor.forge import Forge
from tests.simulator import identity_of

Attack = Callable[[Forge], None]


# ---- the log ----


def too_few_cosigners(forge: Forge) -> None:
    forge.cosigners = forge.cosigners[:3]


def stranger_cosigns(forge: Forge) -> None:
    def add(note: bytes) -> bytes:
        return add_cosignatures(note, [cosign(parse_note(note).checkpoint, "zoe", identity_of("zoe"), 1)])

    forge.notes[len(forge.slots)] = add


def fork(forge: Forge) -> None:
    """An earlier checkpoint, cosigned, of another history."""

    def other(note: bytes) -> bytes:
        head = replace(parse_note(note).checkpoint, root=bytes(32))
        signed = sign_checkpoint(head, head.origin, identity_of("coordinator"))
        return add_cosignatures(signed, [cosign(head, name, identity_of(name), 1) for name in forge.cosigners])

    forge.notes[forge.checkpoints[1]] = other


def other_origin(forge: Forge) -> None:
    forge.policy = replace(forge.policy, origin="example.org/other")


def garbage(forge: Forge) -> None:
    forge.insert_raw(len(forge.slots), b"\xa0")


def reserved_type(forge: Forge) -> None:
    entry = forge.entries()[0]
    forge.insert_raw(len(forge.slots), entry.replace(b"genesis", b"receipt"))


def policy_as_entry(forge: Forge) -> None:
    forge.insert_raw(len(forge.slots), forge.policy_data[:65535])


# ---- order ----


def append(message: Callable[[Forge], Any]) -> Attack:
    def attack(forge: Forge) -> None:
        forge.insert(len(forge.slots), message(forge))

    return attack


def last(kind: type) -> Callable[[Forge], Any]:
    return lambda forge: forge.message(forge.find(kind))


def late_submission(forge: Forge) -> None:
    moved = forge.slots.pop(forge.find(Submission, nth=3))
    position = forge.find(CohortClosed)
    forge.slots.insert(position + 1, moved)
    verdicts = forge.message(position).verdicts
    forge.edit(position, verdicts=verdicts[:3] + verdicts[4:] + "-a")


def second_cohort(forge: Forge) -> None:
    position = forge.find(CohortClosed)
    first = forge.message(position)
    fewer = replace(first, verdicts=first.verdicts.replace("a", "u", 1))
    forge.insert(position + 1, fewer)


def swapped_end(forge: Forge) -> None:
    aggregate = forge.slots.pop(forge.find(Aggregate))
    forge.slots.append(aggregate)


def uncovered_open(forge: Forge) -> None:
    opened = forge.find(RoundOpen)
    first = forge.find(Submission)
    forge.checkpoints = [size for size in forge.checkpoints if not opened < size <= first]


def uncovered_cohort(forge: Forge) -> None:
    closed = forge.find(CohortClosed)
    forge.checkpoints = [size for size in forge.checkpoints if not closed < size <= forge.find(Release)]


def old_checkpoint(forge: Forge) -> None:
    """Round 2 is seeded from a checkpoint that was there while round 1 ran."""
    honest = forge.message(forge.find(RoundOpen, 1))
    changes = {"checkpoint_size": honest.checkpoint_size, "checkpoint_root": honest.checkpoint_root}
    place = forge.find(RoundOpen, 2)
    seed = round_seed(honest.checkpoint_root, 2, forge.message(place).round_key_hashes)
    forge.edit(place, **changes, seed=seed)


def reused_key(forge: Forge) -> None:
    forge.edit(forge.find(RoundKey, 2), public_key=forge.message(forge.find(RoundKey, 1)).public_key)


def respelled_key(forge: Forge) -> None:
    """The key of the round before, with the bit set that X25519 ignores."""
    key = forge.message(forge.find(RoundKey, 1)).public_key
    forge.edit(forge.find(RoundKey, 2), public_key=key[:-1] + bytes([key[-1] | 0x80]))


def third_submission(forge: Forge) -> None:
    """One client's submission logged three times: the server fills the round."""
    position = forge.find(Submission)
    for _ in range(2):
        forge.insert(position + 1, forge.message(position))


def barred_trustee(forge: Forge) -> None:
    forge.edit(forge.find(RoundKey, 3), trustee="trustee-0")


def retry_denied(forge: Forge) -> None:
    forge.edit(forge.find(RoundOpen, 3), retry_of=None)


# ---- submissions and verdicts ----


def outsider(forge: Forge) -> None:
    forge.edit(forge.find(Submission), signer="mallory", client="mallory")


def wrong_signature(forge: Forge) -> None:
    position = forge.find(Submission)
    forge.edit(position, signer="client-01")


def copied_ciphertext(forge: Forge) -> None:
    first = forge.message(forge.find(Submission))
    forge.edit(forge.find(Submission, nth=1), ciphertext=first.ciphertext)


def replayed_round(forge: Forge) -> None:
    """Round 2's first submission is round 1's."""
    honest = forge.message(forge.find(Submission, 1))
    forge.edit(
        forge.find(Submission, 2), commitments=honest.commitments, ciphertext=honest.ciphertext, proof=honest.proof
    )


def long_blob(field: str, kind: type) -> Attack:
    """A blob with a few bytes more, properly named and signed: a message to whoever reads the transcript."""

    def attack(forge: Forge) -> None:
        position = forge.find(kind)
        forge.edit(position, **{field: forge.put(forge.blob(getattr(forge.message(position), field)) + b"hidden")})

    return attack


def excluded_for(reason: str) -> Attack:
    """A valid submission is thrown out."""

    def attack(forge: Forge) -> None:
        position = forge.find(CohortClosed)
        message = forge.message(position)
        exclusions = (Exclusion(message.accepted[0], reason, ""),)
        forge.edit(position, accepted=message.accepted[1:], excluded=exclusions)

    return attack


def forgotten(forge: Forge) -> None:
    position = forge.find(CohortClosed)
    forge.edit(position, accepted=forge.message(position).accepted[1:])


def foreign_member(forge: Forge) -> None:
    position = forge.find(CohortClosed)
    assert forge.message(position).verdicts[-1] == "-"  # of an acknowledgement
    forge.edit(position, verdicts=forge.message(position).verdicts[:-1] + "a")


def offender_accepted(reason: str) -> Attack:
    def attack(forge: Forge) -> None:
        position = forge.find(CohortClosed, 1)
        message = forge.message(position)
        chosen = next(each for each in message.excluded if each.reason == reason)
        accepted = tuple(sorted((*message.accepted, chosen.index)))
        forge.edit(position, accepted=accepted, excluded=tuple(each for each in message.excluded if each != chosen))

    return attack


def second_ack(forge: Forge) -> None:
    position = forge.find(ShareAck)
    forge.insert(position + 1, replace(forge.message(position), answers=""))


def withheld_ack(forge: Forge) -> None:
    """An acknowledgement after the cohort is closed."""
    moved = forge.slots.pop(forge.find(ShareAck, nth=4))
    forge.slots.insert(forge.find(CohortClosed) + 1, moved)


# ---- releases, sums, models ----


def second_release(forge: Forge) -> None:
    position = forge.find(Release)
    share = forge.put(flipped(forge.blob(forge.message(position).share), -1))
    forge.insert(position + 1, replace(forge.message(position), share=share))


def release_outside(forge: Forge) -> None:
    """The trustee whom the round did not ask releases all the same."""
    position = forge.find(Release, 2)
    forge.edit(position, trustee="trustee-4")


def wrong_release_used(forge: Forge) -> None:
    used = forge.message(forge.find(Aggregate)).releases[0]
    forge.edit(used, share=forge.put(flipped(forge.blob(forge.message(used).share), -1)))


def no_releases(forge: Forge) -> None:
    forge.edit(forge.find(Aggregate), releases=())


def one_release_four_times(forge: Forge) -> None:
    position = forge.find(Aggregate)
    forge.edit(position, releases=forge.message(position).releases[:1] * 4)


def own_term(forge: Forge) -> None:
    """The server adds a term of its own to the sum and steps accordingly."""
    position = forge.find(Aggregate)
    honest = np.frombuffer(forge.blob(forge.message(position).plaintext), dtype="<i8")
    added = honest.copy()
    added[0] += 7
    forge.edit(position, plaintext=forge.put(added.tobytes()))
    step(forge, added, 4)


def step(forge: Forge, plaintext: np.ndarray, count: int) -> None:
    """RoundClosed follows from this sum."""
    model = server_steps.decode_model(forge.blob(forge.policy.initial_model), forge.policy.dimension)
    state = server_steps.initial_state(forge.policy, model)
    following = server_steps.apply_step(forge.policy, state, plaintext, count, 1)
    forge.edit(forge.find(RoundClosed), model=forge.put(server_steps.encode_model(following.model)))


def huge_sum(forge: Forge) -> None:
    """A sum beyond what any cohort can reach, which is the honest one modulo 2^64 in no coordinate."""
    position = forge.find(Aggregate)
    honest = np.frombuffer(forge.blob(forge.message(position).plaintext), dtype="<i8").copy()
    honest[0] = -(2**63)
    forge.edit(position, plaintext=forge.put(honest.tobytes()))


def own_model(forge: Forge) -> None:
    forge.edit(forge.find(RoundClosed), model=forge.put(server_steps.encode_model(np.zeros(forge.policy.dimension))))


def infinite_model(forge: Forge) -> None:
    model = np.full(forge.policy.dimension, np.inf)
    forge.edit(forge.find(RoundClosed), model=forge.put(server_steps.encode_model(model)))


# ---- aborts ----


def abort_instead(reason: str, missing: tuple[MissingParty, ...] = (), after_cohort: bool = True) -> Attack:
    """The round could go on, but the server says that it cannot."""

    def attack(forge: Forge) -> None:
        opened = forge.find(RoundOpen)
        entries = forge.entries()
        position = forge.find(Aggregate) if after_cohort else forge.find(CohortClosed)
        cohort = blob_hash(entries[forge.find(CohortClosed)]) if after_cohort else None
        forge.cut(position)
        federation = forge.policy.federation
        message = RoundAborted(federation, 1, blob_hash(entries[opened]), cohort, reason, missing)
        forge.insert(position, message)

    return attack


def retry_without_one(forge: Forge) -> None:
    """The retry leaves out one client of the cohort that was opened before: the difference is its update."""
    position = forge.find(CohortClosed, 3)
    first, victim, *others = forge.message(position).accepted
    forge.edit(position, accepted=(first, *others), excluded=(Exclusion(victim, "unacknowledged", ""),))


ATTACKS: dict[str, tuple[Attack, set[str], str]] = {
    "too few cosigners": (too_few_cosigners, {"I1"}, "quiet"),
    "a stranger cosigns": (stranger_cosigns, {"I1"}, "quiet"),
    "a fork": (fork, {"I1"}, "quiet"),
    "another origin": (other_origin, {"I1"}, "quiet"),
    "garbage for an entry": (garbage, {"I1", "P7"}, "quiet"),
    "an entry of a reserved type": (reserved_type, {"I1", "P7"}, "quiet"),
    "a policy for an entry": (policy_as_entry, {"I1", "P7"}, "quiet"),
    "a second genesis": (append(last(Genesis)), {"I2", "I4"}, "quiet"),
    "a second end": (append(last(RoundClosed)), {"I4"}, "quiet"),
    "a release after the end": (append(last(Release)), {"I4", "P2"}, "quiet"),
    "a submission after the end": (append(last(Submission)), {"I4"}, "quiet"),
    "an abort after the end": (
        append(lambda forge: RoundAborted(forge.policy.federation, 1, bytes(32), None, "no-quorum", ())),
        {"I4", "I8", "I12"},
        "quiet",
    ),
    "a submission after the cohort": (late_submission, {"I4", "I7"}, "quiet"),
    "a second cohort": (second_cohort, {"I4", "P2"}, "quiet"),
    "the aggregate after the end": (swapped_end, {"I4", "I12"}, "quiet"),
    "answers before anybody cosigned": (uncovered_open, {"I4"}, "quiet"),
    "releases before anybody cosigned": (uncovered_cohort, {"I8"}, "quiet"),
    "a seed from an old checkpoint": (old_checkpoint, {"I4"}, "aborted"),
    "a round key used twice": (reused_key, {"I4"}, "aborted"),
    "a round key spelled in another way": (respelled_key, {"I4"}, "aborted"),
    "a submission logged three times": (third_submission, {"I5", "I7"}, "quiet"),
    "a barred trustee": (barred_trustee, {"I4"}, "eventful"),
    "a retry that says it is none": (retry_denied, {"I4"}, "eventful"),
    "a client outside the roster": (outsider, {"I5", "I6"}, "quiet"),
    "somebody else's signature": (wrong_signature, {"I5"}, "quiet"),
    "another client's ciphertext": (copied_ciphertext, {"I6", "I7", "I8"}, "quiet"),
    "a submission of an earlier round": (replayed_round, {"I7", "I8"}, "aborted"),
    "bytes after a proof": (long_blob("proof", Submission), {"I1"}, "quiet"),
    "bytes after a release": (long_blob("share", Release), {"I1", "I8"}, "quiet"),
    "bytes after the key": (long_blob("key", Aggregate), {"I1", "I9", "I10"}, "quiet"),
    "bytes after a model": (long_blob("model", RoundClosed), {"I1", "I11"}, "quiet"),
    "a false duplicate": (excluded_for("duplicate"), {"I7", "I8"}, "quiet"),
    "a false replay": (excluded_for("replayed"), {"I7", "I8"}, "quiet"),
    "a falsely malformed one": (excluded_for("malformed"), {"I7", "I8"}, "quiet"),
    "a falsely invalid proof": (excluded_for("invalid-proof"), {"I7", "I8"}, "quiet"),
    "a false dispute": (excluded_for("disputed"), {"I7", "I8"}, "quiet"),
    "a cohort falsely full": (excluded_for("cohort-full"), {"I7", "I8"}, "quiet"),
    "falsely unacknowledged": (excluded_for("unacknowledged"), {"I7", "I8"}, "quiet"),
    "a submission without a verdict": (forgotten, {"I7", "I8"}, "quiet"),
    "a member from elsewhere": (foreign_member, {"I7", "I8", "P1"}, "quiet"),
    "an invalid proof accepted": (offender_accepted("invalid-proof"), {"I6", "I7", "I8"}, "eventful"),
    "a duplicate accepted": (offender_accepted("duplicate"), {"I5", "I7", "I8", "P1"}, "eventful"),
    "a disputed one accepted": (offender_accepted("disputed"), {"I7", "I8"}, "eventful"),
    "two acknowledgements of one trustee": (second_ack, {"I8"}, "quiet"),
    "an acknowledgement after the cohort": (withheld_ack, {"I4", "I8"}, "quiet"),
    "two releases of one trustee": (second_release, {"P2"}, "quiet"),
    "a release by a trustee not asked": (release_outside, {"I8"}, "aborted"),
    "a wrong release used": (wrong_release_used, {"I8", "I10"}, "quiet"),
    "an aggregate without releases": (no_releases, {"I8", "I10"}, "quiet"),
    "one release four times": (one_release_four_times, {"I8", "I10"}, "quiet"),
    "the server's own term": (own_term, {"I9", "I10"}, "quiet"),
    "a huge sum": (huge_sum, {"I9", "I10", "I11"}, "quiet"),
    "the server's own model": (own_model, {"I11"}, "quiet"),
    "an infinite model": (infinite_model, {"I11"}, "quiet"),
    "an abort for releases that are there": (abort_instead("missing-releases"), {"I8"}, "quiet"),
    "an abort of a sum that opens": (abort_instead("opening-failed"), {"I9"}, "quiet"),
    "an abort for nothing": (abort_instead("bad-weather"), {"I8", "P7"}, "quiet"),
    "a quorum that was there": (abort_instead("no-quorum", after_cohort=False), {"I8"}, "quiet"),
    "submissions that were there": (abort_instead("too-few-submissions", after_cohort=False), {"I8"}, "quiet"),
    "differencing of nothing": (abort_instead("differencing", after_cohort=False), {"I8"}, "quiet"),
    "a retry without one client": (retry_without_one, {"I7", "I8", "P6"}, "eventful"),
}
