"""What an audit has read before it judges: entries under their rounds, standings, blobs (spec 9.2, 9.3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tests.independent import account
from tests.independent.cohorts import places
from tests.independent.curve import Point, decode_points
from tests.independent.encoding import Body, Envelope
from tests.independent.identities import Membership, verifies
from tests.independent.log import Transcript
from tests.independent.noise_alone import adding, training
from tests.independent.parameters import Numbers

CHECKS = [f"I{i}" for i in range(1, 15)] + [f"P{i}" for i in range(1, 8)]
OWNER = {
    "genesis": "I2",
    "key-rotation": "I3",
    "revocation": "I3",
    "round-key": "I4",
    "round-open": "I4",
    "submission": "I5",
    "share-ack": "I8",
    "release": "I8",
    "round-aborted": "I8",
    "cohort-closed": "I7",
    "aggregate": "I9",
    "round-closed": "I11",
    "federation-closed": "I4",
}
SUBMISSION_BLOBS = (
    "commitments",
    "ciphertext",
    "share_commitments",
    "proof",
    "range_commitments",
    "weight_commitments",
    "noise_commitments",
    "privacy_noise_commitments",
)
NAMED: Mapping[str, Sequence[str]] = {
    "genesis": ("policy", "model", "approvals"),
    "round-open": ("policy", "model"),
    "submission": SUBMISSION_BLOBS,
    "release": ("share",),
    "aggregate": ("ciphertext", "key", "plaintext", "blindings"),
    "round-closed": ("model", "optimizer"),
    "federation-closed": ("model",),
}


class Report:
    """A status and findings for every check (spec 9.2)."""

    def __init__(self, required: Sequence[str] = ()) -> None:
        self.findings: dict[str, list[str]] = {number: [] for number in CHECKS}
        self.skipped: dict[str, str] = {}
        self.required = set(required)
        self.idle: set[str] = set()  # what does not apply
        self.cut = False  # whether entries are missing that the log has: then nothing that needs the log can pass

    def fail(self, check: str, *words: object) -> None:
        self.findings[check].append(" ".join(map(str, words)))

    def skip(self, checks: Sequence[str], why: str) -> None:
        for number in checks:
            self.skipped.setdefault(number, why)

    def status(self, check: str) -> str:
        if self.findings[check]:
            return "fail"
        if check in self.idle:
            return "not-applicable"
        if check in self.skipped or (self.cut and check not in ("I14", "P3")):
            return "fail" if check in self.required else "skipped"
        return "pass"

    @property
    def checks(self) -> dict[str, str]:
        return {number: self.status(number) for number in CHECKS}

    @property
    def accepted(self) -> bool:
        allowed = {number: {"pass", "not-applicable"} for number in ("I13", "P5")}
        allowed["I14"] = {"pass", "not-applicable", "skipped"}
        if self.skipped.get("I9") == "pruned":
            allowed["I9"] = {"pass", "skipped"}
        return all(status in allowed.get(number, {"pass"}) for number, status in self.checks.items())


@dataclass(frozen=True)
class Entry:
    """An entry of the log; `own` says that its party signed it, for this federation, with its key in force."""

    index: int
    envelope: Envelope
    own: bool

    @property
    def type(self) -> str:
        return self.envelope.type

    @property
    def body(self) -> Body:
        return self.envelope.body

    @property
    def hash(self) -> bytes:
        return self.envelope.hash


@dataclass
class Round:
    """The entries of one round, by type, in log order."""

    number: int
    entries: list[Entry] = field(default_factory=list)
    alone: set[str] = field(default_factory=set)  # whose submissions are noise alone

    def all(self, kind: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.type == kind]

    def first(self, kind: str) -> Entry | None:
        return next(iter(self.all(kind)), None)

    @cached_property
    def opened(self) -> Entry | None:
        return self.first("round-open")

    @cached_property
    def closed(self) -> Entry | None:
        return self.first("cohort-closed")

    @cached_property
    def submissions(self) -> list[Entry]:
        return self.all("submission")

    @property
    def judged(self) -> list[Entry]:
        """Submissions before CohortClosed, or all where there is none."""
        return [entry for entry in self.submissions if self.closed is None or entry.index < self.closed.index]

    @cached_property
    def acks(self) -> dict[str, Entry]:
        """The first acknowledgement of each trustee before CohortClosed."""
        acks: dict[str, Entry] = {}
        for entry in self.all("share-ack"):
            if self.closed is None or entry.index < self.closed.index:
                acks.setdefault(entry.body["trustee"], entry)
        return acks

    @property
    def weight(self) -> int:
        """The sum of the weights of the cohort: 1 each, where none are stated."""
        return sum(1 if entry.body["weight"] is None else entry.body["weight"] for entry in self.accepted)

    @cached_property
    def accepted(self) -> list[Entry]:
        """The submissions that the logged cohort accepts, ascending."""
        wanted = set(places(self.closed.body, "a")) if self.closed else set()
        return [entry for entry in self.submissions if entry.index in wanted]

    def charged_by(self, closed: Entry) -> set[str]:
        """The clients whose submissions a CohortClosed of the round accepts."""
        wanted = set(places(closed.body, "a"))
        return {entry.body["client"] for entry in self.submissions if entry.index in wanted} - self.alone

    @property
    def clients(self) -> set[str]:
        """Whose updates are summed."""
        return {entry.body["client"] for entry in self.accepted} - self.alone

    @property
    def end(self) -> Entry | None:
        return next((entry for entry in self.entries if entry.type in ("round-closed", "round-aborted")), None)


@dataclass
class Case:
    """Everything that the checks after I1 look at."""

    report: Report
    policy_file: bytes
    policy: Body
    numbers: Numbers
    transcript: Transcript
    entries: list[Entry]
    memberships: list[Membership]
    published: list[int]
    roots: Mapping[int, bytes]
    whole: bool = True  # whether all entries are judged
    gaps: set[int] = field(default_factory=set)  # entries of which only the leaf hash is known
    faults: dict[int, str] = field(default_factory=dict)
    valid_releases: set[int] = field(default_factory=set)

    @cached_property
    def rounds(self) -> list[Round]:
        """By number, ascending."""
        rounds, alone = dict[int, Round](), adding(self.policy)
        for entry in self.entries:
            if "round" in entry.body:
                number = entry.body["round"]
                rounds.setdefault(number, Round(number, alone=alone)).entries.append(entry)
        return [rounds[number] for number in sorted(rounds)]

    def round_before(self, number: int, model: bytes) -> Round | None:
        """The last round before this one whose cohort was opened on a model; None for none."""
        for this in reversed(self.rounds):
            opened = this.opened
            if (
                this.number < number
                and this.closed is not None
                and opened is not None
                and opened.body["model"] == model
            ):
                return this
        return None

    def cohort_before(self, number: int, model: bytes) -> set[str] | None:
        """The clients of that cohort."""
        this = self.round_before(number, model)
        return None if this is None else this.clients

    def repeated_before(self, number: int, model: bytes) -> Round | None:
        """The same round, if it did not end with a sum."""
        this = self.round_before(number, model)
        return None if this is None or this.first("round-closed") is not None else this

    def cohorts_before(self, number: int) -> list[tuple[bytes, set[str]]]:
        """The last two cohorts that were opened before this round, with their models, in this order."""
        found = []
        for this in self.rounds:
            if this.number < number and this.closed is not None and this.opened is not None:
                found.append((this.opened.body["model"], this.clients))
        return found[-2:]

    @cached_property
    def allowed(self) -> Mapping[str, int]:
        """In how many closed cohorts each client may be (4.10); nothing without a budget."""
        if self.policy["privacy_budget"] is None:
            return {}
        former = self.policy["privacy_budget"]["former"]
        charged = {charge["client"] for each in former for charge in each["charges"]}
        newcomers = account.rounds_each(self.policy)
        return {
            name: account.rounds_each(self.policy, name) if name in charged else newcomers
            for name in training(self.policy)
        }

    def spent(self, counts: Callable[[Round, Entry], bool]) -> set[str]:
        """The clients who may be in no further cohort by those CohortClosed that count (10.5)."""
        charged: Counter[str] = Counter()
        for this in self.rounds if self.allowed else ():
            for closed in this.all("cohort-closed"):
                charged.update(this.charged_by(closed) if counts(this, closed) else ())
        return {name for name, most in self.allowed.items() if charged[name] >= most}

    def spent_before(self, number: int) -> set[str]:
        """By the rounds before this one."""
        return self.spent(lambda this, _: this.number < number)

    @cached_property
    def ending(self) -> Entry | None:
        """The first FederationClosed."""
        return next((entry for entry in self.entries if entry.type == "federation-closed"), None)

    def model_before(self, index: int) -> bytes:
        """What the last round closed before an entry made, or the initial model."""
        closings = [entry for entry in self.before(index) if entry.type == "round-closed"]
        model: bytes = closings[-1].body["model"] if closings else self.policy["initial_model"]
        return model

    @cached_property
    def by_index(self) -> dict[int, Entry]:
        return {entry.index: entry for entry in self.entries}

    def before(self, index: int) -> list[Entry]:
        return [entry for entry in self.entries if entry.index < index]

    @cached_property
    def points(self) -> dict[str, int]:
        """Share points: positions in the policy's list, from 1."""
        return {member["id"]: x for x, member in enumerate(self.policy["trustees"], 1)}

    def fail(self, check: str, *words: object) -> None:
        self.report.fail(check, *words)

    def covered(self, low: int, high: int) -> bool:
        """Whether some published size s has low < s <= high."""
        return any(low < size <= high for size in self.published)

    def blob(self, entry: Entry, name: str) -> bytes:
        """A blob by the field that names it; `Unsound` where it cannot be had."""
        return self.transcript.blob(entry.body[name], self.numbers.blob_size(entry.type, name))

    def has(self, digest: bytes) -> bool:
        return self.transcript.occupied(digest)

    @cached_property
    def prunable(self) -> set[bytes]:
        """Ciphertexts that may be missing (9.4): named by nothing but Aggregates and the submissions that they sum."""
        summed = {entry.index for this in self.rounds if this.first("aggregate") for entry in this.accepted}
        named = [(entry, *reference) for entry in self.entries for reference in references(entry)]
        needed = {
            digest
            for entry, name, digest in named
            if name != "ciphertext" or (entry.type != "aggregate" and entry.index not in summed)
        }
        return {digest for _, _, digest in named} - needed

    def pruned(self, digest: bytes) -> bool:
        """Whether a ciphertext is not there, and need not be."""
        return digest in self.prunable and not self.has(digest)

    def share_commitments(self, entry: Entry) -> list[Point]:
        return decode_points(self.blob(entry, "share_commitments"))

    def faultless(self, of_round: Round) -> list[int]:
        """Submissions before CohortClosed without a fault of their own."""
        return [entry.index for entry in of_round.judged if entry.index not in self.faults]


def references(entry: Entry) -> Iterator[tuple[str, bytes]]:
    """The blobs that an entry names, by field; those of shares as `blob`."""
    for name in NAMED.get(entry.type, ()):
        if entry.body[name] is not None:
            yield name, entry.body[name]
    if entry.type == "submission":
        yield from (("blob", share["blob"]) for share in entry.body["shares"])


def standing(entry: Envelope, policy: Body, membership: Membership) -> tuple[str, str] | None:
    """What is wrong with signature, signer or federation of one entry, and the check that owns it (9.3, I3.4)."""
    owner = OWNER[entry.type]
    if entry.body["federation"] != policy["federation"]:
        return owner, "federation"
    if entry.type in ("round-key", "federation-closed") and entry.body["policy"] != membership.policy_hash:
        return owner, "policy-hash"
    if entry.signer == "coordinator":
        return None if verifies(policy["log_key"], entry.signature, entry.signed) else (owner, "signature")
    members = policy["roster"] if entry.type == "submission" else policy["trustees"]
    if entry.signer not in {member["id"] for member in members}:
        return owner, "unknown party"
    if entry.signer in membership.revoked:
        return "I3", "revoked"
    if verifies(membership.keys[entry.signer], entry.signature, entry.signed):
        return None
    old = membership.replaced.get(entry.signer, [])[-16:]
    if any(verifies(key, entry.signature, entry.signed) for key in old):
        return "I3", "signed with a replaced key"
    return owner, "signature"
