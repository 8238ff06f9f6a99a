"""P1 to P7 (spec 9.7)."""

from __future__ import annotations

from collections import Counter

from tests.independent.case import Case, references
from tests.independent.cohorts import nests, places, strictly_fine
from tests.independent.content import exempt
from tests.independent.noise_alone import suffices

ABORTS = {"no-quorum", "too-few-submissions", "differencing", "missing-releases", "opening-failed"}
ENDINGS = {"aborts-spent", "rounds-spent", "too-few-clients", "budget-spent", "no-cohort", "continued"}
MISSING = {"no-acknowledgement", "wrong-release", "no-release"}


def check(case: Case) -> None:
    check_sizes(case)
    check_singles(case)
    policy = case.policy
    if not (2 * policy["threshold"] > len(policy["trustees"]) + policy["corrupt"] >= 0) or (
        policy["corrupt"] > policy["threshold"] - 1
    ):
        case.fail("P3", "2t > m + f and f <= t - 1")
    for number in ("I2", "I6"):
        if case.report.findings[number]:
            case.report.skip(["P4", "P5"], number)
    check_budget(case)
    check_differences(case)
    check_schema(case)


def check_sizes(case: Case) -> None:
    """P1."""
    for this in case.rounds:
        for closed in this.all("cohort-closed"):
            accepted = set(places(closed.body, "a"))
            clients = [entry.body["client"] for entry in this.submissions if entry.index in accepted]
            size = len(accepted)
            if not suffices(case.policy, clients) or len(set(clients)) != size or size > case.policy["max_cohort"]:
                case.fail("P1", f"entry {closed.index}: a cohort of {size}")


def check_singles(case: Case) -> None:
    """P2."""
    for this in case.rounds:
        names = [entry.body["trustee"] for entry in this.all("release")]
        if len(this.all("cohort-closed")) > 1 or len(set(names)) < len(names):
            case.fail("P2", f"round {this.number}: a second cohort or release")


def check_budget(case: Case) -> None:
    """P5."""
    charged: Counter[str] = Counter()
    for this in case.rounds if case.allowed else ():
        for closed in this.all("cohort-closed"):
            for name in sorted(this.charged_by(closed)):
                charged[name] += 1
                if charged[name] > case.allowed.get(name, 0):
                    case.fail("P5", f"entry {closed.index}: {name} is in {charged[name]} closed cohorts")


def check_differences(case: Case) -> None:
    """P6."""
    aborts = 0
    for this in case.rounds:
        if this.opened is None:
            continue
        if aborts > case.policy["max_aborts"]:
            case.fail("P6", f"round {this.number}: abort-cap")
        if this.closed is None:
            continue
        aborts += bool(this.all("round-aborted"))
        earlier = case.cohort_before(this.number, this.opened.body["model"])
        if earlier is not None and not nests(earlier, this.clients, exempt(case, this), case.policy["min_cohort"]):
            case.fail("P6", f"round {this.number}: differencing")
        if case.policy["strict_consecutive"] and not strictly_fine(
            case.cohorts_before(this.number),
            this.opened.body["model"],
            this.clients,
            exempt(case, this),
            case.policy["min_cohort"],
        ):
            case.fail("P6", f"round {this.number}: consecutive cohorts expose a few")


def check_schema(case: Case) -> None:
    """P7."""
    for entry in case.entries:
        body = entry.body
        words = [(item["reason"], MISSING) for item in body.get("missing", [])]
        if entry.type == "round-aborted":
            words.append((body["reason"], ABORTS))
        if entry.type == "federation-closed":
            words.append((body["reason"], ENDINGS))
        if any(word not in known for word, known in words):
            case.fail("P7", f"entry {entry.index}: a reason of no list")
    named = {digest for entry in case.entries for _, digest in references(entry)}
    for digest in case.transcript.blob_hashes() - named if case.whole else ():
        case.fail("P7", f"blob {digest.hex()}: named by no entry")
