"""Every reason that an entry of the log gives for something, with its facts (spec 2.5, 8.6, 8.7, 8.9).

Parties write them, auditors re-derive them, reports explain them: all find a reason here, or refuse it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from protocols.registry import Registry


class Ground(StrEnum):
    """What shows that a submission is excluded for a reason."""

    LOG = "log"  # the entries before it
    BLOBS = "blobs"  # what it names, and what entries before it named
    TRUSTEES = "trustees"  # what they acknowledge and dispute
    RULE = "rule"  # who else there is: the rule of the cohort


@dataclass(frozen=True)
class ExclusionReason:
    """Why a submission is not in the cohort. sign: of a CohortClosed's verdicts. offence: only the client itself can
    bring it about. exempting: the client may be missing from a repetition (spec 8.8)."""

    name: str
    sign: str
    ground: Ground
    offence: bool = False
    exempting: bool = False


@dataclass(frozen=True)
class DisputeReason:
    """Why a trustee disputes a share: the check that it fails. sign: of a ShareAck's answers."""

    name: str
    sign: str


@dataclass(frozen=True)
class AbortReason:
    """Why a round ends without an aggregate. opened: after its cohort was closed. absences: the reasons for which it
    names parties; where there are none, it names nobody, and nobody is the cause."""

    name: str
    opened: bool
    absences: tuple[str, ...] = ()


@dataclass(frozen=True)
class EndingReason:
    """Why a federation is closed. words: what that means, for people."""

    name: str
    words: str


@dataclass(frozen=True)
class Reason:
    """One without further facts."""

    name: str


def _name(reason: ExclusionReason | DisputeReason | AbortReason | EndingReason | Reason) -> str:
    return reason.name


# In order of precedence: the first that holds is the reason. A replay is an offence, as whoever copies from another
# cannot make a valid proof of what it copies, so that no copy, logged first, makes a replay of the original. Neither
# duplicates nor replays exempt: whoever loses its store and submits again is honest; and a trustee, who has no blobs of
# earlier rounds, cannot verify a replay.
DUPLICATE = "duplicate"  # an earlier submission of the same client and round is in the log
REPLAYED = "replayed"  # it names a blob of an earlier valid submission of any round where only its own belongs
MALFORMED = "malformed"  # the ciphertext or the share commitments do not decode
INVALID_PROOF = "invalid-proof"  # the validity proof does not verify
DISPUTED = "disputed"  # more than f trustees dispute its share, so an honest one does
COHORT_FULL = "cohort-full"  # max_cohort earlier submissions are in
UNACKNOWLEDGED = "unacknowledged"  # a trustee in Q does not hold its share
SUPPRESSED = "suppressed"  # it leaves so that those who are missing from P are not isolated

EXCLUSIONS: Registry[ExclusionReason] = Registry(
    "reason of an exclusion",
    "reason",
    (
        ExclusionReason(DUPLICATE, "2", Ground.LOG, offence=True),
        ExclusionReason(REPLAYED, "r", Ground.BLOBS, offence=True),
        ExclusionReason(MALFORMED, "m", Ground.BLOBS, offence=True, exempting=True),
        ExclusionReason(INVALID_PROOF, "i", Ground.BLOBS, offence=True, exempting=True),
        ExclusionReason(DISPUTED, "d", Ground.TRUSTEES, offence=True, exempting=True),
        ExclusionReason(COHORT_FULL, "f", Ground.RULE),
        ExclusionReason(UNACKNOWLEDGED, "u", Ground.TRUSTEES),
        ExclusionReason(SUPPRESSED, "s", Ground.RULE),
    ),
    _name,
)
OFFENCES = frozenset(each.name for each in EXCLUSIONS if each.offence)
EXEMPTING = frozenset(each.name for each in EXCLUSIONS if each.exempting)
OWN_FAULTS = frozenset(each.name for each in EXCLUSIONS if each.ground in (Ground.LOG, Ground.BLOBS))

SHARE_DECRYPTION = "share-decryption"
SHARE_ENCODING = "share-encoding"
SHARE_COMMITMENTS = "share-commitments"
SHARE_OPENING = "share-opening"

DISPUTES: Registry[DisputeReason] = Registry(
    "reason of a dispute",
    "reason",
    (
        DisputeReason(SHARE_DECRYPTION, "d"),
        DisputeReason(SHARE_ENCODING, "e"),
        DisputeReason(SHARE_COMMITMENTS, "c"),
        DisputeReason(SHARE_OPENING, "o"),
    ),
    _name,
)

NO_ACKNOWLEDGEMENT = "no-acknowledgement"
NO_RELEASE = "no-release"
WRONG_RELEASE = "wrong-release"

ABSENCES: Registry[Reason] = Registry(
    "reason of a missing party", "reason", map(Reason, (NO_ACKNOWLEDGEMENT, NO_RELEASE, WRONG_RELEASE)), _name
)

TOO_FEW_SUBMISSIONS = "too-few-submissions"
NO_QUORUM = "no-quorum"
DIFFERENCING = "differencing"
MISSING_RELEASES = "missing-releases"
OPENING_FAILED = "opening-failed"

ABORTS: Registry[AbortReason] = Registry(
    "reason of an abort",
    "reason",
    (
        AbortReason(TOO_FEW_SUBMISSIONS, opened=False),
        AbortReason(NO_QUORUM, opened=False, absences=(NO_ACKNOWLEDGEMENT,)),
        AbortReason(DIFFERENCING, opened=False),
        AbortReason(MISSING_RELEASES, opened=True, absences=(NO_RELEASE, WRONG_RELEASE)),
        AbortReason(OPENING_FAILED, opened=True),
    ),
    _name,
)
BLAMELESS = frozenset(each.name for each in ABORTS if not each.absences)

ABORTS_SPENT = "aborts-spent"
ROUNDS_SPENT = "rounds-spent"
TOO_FEW_CLIENTS = "too-few-clients"
BUDGET_SPENT = "budget-spent"
NO_COHORT = "no-cohort"
CONTINUED = "continued"

ENDINGS: Registry[EndingReason] = Registry(
    "reason of the end",
    "reason",
    (
        EndingReason(ABORTS_SPENT, "more opened rounds were aborted than the policy's max_aborts"),
        EndingReason(ROUNDS_SPENT, "the policy's max_rounds were opened"),
        EndingReason(TOO_FEW_CLIENTS, "too few clients are left for a cohort in which nobody is isolated"),
        EndingReason(BUDGET_SPENT, "too few clients have privacy budget left for a cohort in which nobody is isolated"),
        EndingReason(NO_COHORT, "the repetition of an opened round found no cohort"),
        EndingReason(CONTINUED, "its coordinator closed it between two rounds, so that another may go on from it"),
    ),
    _name,
)

KEY_COMPROMISED = "key-compromised"
LEFT = "left"
EXPELLED = "expelled"

REVOCATIONS: Registry[Reason] = Registry(
    "reason of a revocation", "revocation-reason", map(Reason, (KEY_COMPROMISED, LEFT, EXPELLED)), _name
)
