"""The kinds of misbehaviour, each with what it leads to.

Light to import: the command line reads it for `--inject list`. The documentation's table is made of it, and a test for
each line runs the kind and compares every column.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from verifl.adversaries.consequences import INVALID, Consequence

FIRST_ROUND = 2  # the first round is honest, so that there is a history to replay, to fork and to roll back


class Role(StrEnum):
    """Whose keys the liar holds, and whom PARTY names."""

    CLIENT = "client"
    TRUSTEE = "trustee"
    SERVER = "server"
    NOBODY = "nobody"


@dataclass(frozen=True)
class Misbehaviour:
    """One kind of it. by: whose keys the liar holds. party: whom PARTY names, the liar or the victim. needs: what
    of a policy gives occasion for it, if not every policy does."""

    name: str
    by: Role
    party: Role
    summary: str
    outcome: Consequence
    needs: str = ""

    @property
    def description(self) -> str:
        """What it does, and what it needs."""
        return f"{self.summary}; needs {self.needs}" if self.needs else self.summary

    @property
    def spelling(self) -> str:
        """As `--inject` takes it."""
        if self.name == BAD_SHARE:
            return f"{self.name}[:TRUSTEE,...]"
        return self.name if self.party is Role.NOBODY else f"{self.name}[:{self.party.upper()}]"


BAD_SHARE = "bad-share"
_FOREIGN = ("I1", "I5", "I7", "I8", "P6")  # a cohort that nobody acknowledged, of clients whom the log does not admit
_SUM = ("I9", "I10")  # a false sum: the ciphertexts say otherwise, and so do the commitments

STATED_WEIGHTS = "weights that are stated"
DRAWN_CLIENTS = "clients that are drawn for each round"
NOISE = "noise for privacy"

_WEIGHERS = (
    Misbehaviour(
        "wrong-weight", Role.CLIENT, Role.CLIENT,
        "states another weight than that of which its proof is",
        replace(INVALID, detail="ciphertext-combination"), needs=STATED_WEIGHTS,
    ),
    Misbehaviour(
        "understated-weight", Role.CLIENT, Role.CLIENT,
        "states the least weight for an update as long as only the heaviest may be",
        INVALID, needs=STATED_WEIGHTS,
    ),
    Misbehaviour(
        "excessive-weight", Role.CLIENT, Role.CLIENT,
        "states a weight beyond the largest",
        Consequence(refuser="the coordinator", refusal="weight", remark="not logged"), needs=STATED_WEIGHTS,
    ),
)  # fmt: skip

_PROVERS = (
    Misbehaviour(
        "oversized-update", Role.CLIENT, Role.CLIENT,
        "submits an update twice as long as the bound, with a proof by the honest prover's own steps",
        INVALID,
    ),
    Misbehaviour(
        "out-of-range", Role.CLIENT, Role.CLIENT,
        "submits an update with one coordinate one unit beyond its bound",
        INVALID, needs="a bound on coordinates",
    ),
    Misbehaviour(
        "value-in-padding", Role.CLIENT, Role.CLIENT,
        "commits to and encrypts a value in a cell beyond the last coordinate, where no aggregate would carry it",
        INVALID, needs="padding",
    ),
    Misbehaviour(
        "wrong-ciphertext", Role.CLIENT, Role.CLIENT, "encrypts another update than it committed to", INVALID,
    ),
    Misbehaviour(
        "quotient-out-of-range", Role.CLIENT, Role.CLIENT,
        "encrypts another update, and makes up for it by quotients beyond their range",
        replace(INVALID, detail="quotient-range"), needs="the proof of encryption",
    ),
    Misbehaviour(
        "oversized-error", Role.CLIENT, Role.CLIENT,
        "encrypts with an error near a multiple of q / T, which shifts the sum and passes for a small one",
        INVALID,
    ),
    Misbehaviour(
        "mixed-up-chunks", Role.CLIENT, Role.CLIENT,
        "exchanges two ring elements of its ciphertext, or its halves where it does not fill two",
        INVALID,
    ),
    Misbehaviour(
        "oversized-key", Role.CLIENT, Role.CLIENT,
        "encrypts with and shares a key with one digit so large that it overflows in the sum",
        INVALID,
    ),
    Misbehaviour(
        "wrong-key", Role.CLIENT, Role.CLIENT,
        "shares another key than it encrypted with",
        replace(INVALID, detail="opening"),
    ),
    Misbehaviour(
        "wrong-blinding", Role.CLIENT, Role.CLIENT,
        "shares another blinding than that of its commitment, and proves as if it were the same",
        INVALID,
    ),
    Misbehaviour(
        "oversized-weight", Role.CLIENT, Role.CLIENT,
        "hides a weight of W + 1, and an update as long as that allows",
        replace(INVALID, detail="linear-relation"), needs="private weights",
    ),
    Misbehaviour(
        "split-weight", Role.CLIENT, Role.CLIENT,
        "hides a weight of 1 in what is summed, and bounds the update by one of W",
        replace(INVALID, detail="linear-relation"), needs="private weights",
    ),
)  # fmt: skip

_ADDERS = (
    Misbehaviour(
        "noise-left-out", Role.CLIENT, Role.CLIENT,
        "commits to its update with noise, and encrypts it without",
        INVALID, needs=NOISE,
    ),
    Misbehaviour("no-noise", Role.CLIENT, Role.CLIENT, "commits to noise that is zero", INVALID, needs=NOISE),
    Misbehaviour(
        "weak-noise", Role.CLIENT, Role.CLIENT,
        "adds noise in the first cells alone, as much as stays below the floor",
        INVALID, needs=NOISE,
    ),
    Misbehaviour(
        "constant-noise", Role.CLIENT, Role.CLIENT,
        "adds noise of the same magnitude in every cell, which everybody can take off, as signs are public",
        Consequence(remark="nobody: its energy is right; it is none of the h whose noise counts"),
        needs=NOISE,
    ),
    Misbehaviour(
        "unnoised-padding", Role.CLIENT, Role.CLIENT,
        "adds no noise to the padding",
        Consequence(
            remark="nobody, if the rest reaches the floor, which is of all cells together; it is none of the h whose "
            "noise counts"
        ),
        needs="noise for privacy and padding",
    ),
    Misbehaviour(
        "noise-beyond-group", Role.CLIENT, Role.CLIENT,
        "adds noise of E_n + 1 in one cell",
        INVALID, needs=NOISE,
    ),
    Misbehaviour(
        "noise-above-ceiling", Role.CLIENT, Role.CLIENT,
        "adds noise of the least magnitude with which all cells together are above the ceiling",
        INVALID, needs=NOISE,
    ),
    Misbehaviour(
        "poison-noise", Role.CLIENT, Role.CLIENT,
        "pushes all coordinates one way, with its update and all the noise that the bounds allow; of several tries it "
        "sends the one with the best signs",
        Consequence(remark="nobody: all bounds hold, and what it gains is bounded (spec 12.2)"),
        needs=NOISE,
    ),
)  # fmt: skip

_CLIENTS = (
    Misbehaviour(
        "bad-proof", Role.CLIENT, Role.CLIENT,
        "sends a proof with one bit changed",
        INVALID,
    ),
    Misbehaviour(
        "replayed-proof", Role.CLIENT, Role.CLIENT,
        "sends its proof of the round before with a new update",
        Consequence(checks=("I7",), verdict="replayed"),
    ),
    Misbehaviour(
        "copied-submission", Role.CLIENT, Role.CLIENT,
        "signs another client's submission of this round as its own",
        Consequence(checks=("I7", "I8"), verdict="replayed", remark="every trustee disputes its share"),
    ),
    Misbehaviour(
        "copied-in-transit", Role.CLIENT, Role.CLIENT,
        "signs another client's submission of this round as its own before that is logged",
        Consequence(
            checks=("I7", "I8"), verdict="invalid-proof", detail="ciphertext-combination",
            remark="every trustee disputes its share; the one that was copied counts",
        ),
    ),
    Misbehaviour(
        "stale-model", Role.CLIENT, Role.CLIENT,
        "answers the RoundOpen, and so the model, of the round before",
        Consequence(refuser="the coordinator", refusal="round-open", remark="not logged"),
    ),
    Misbehaviour(
        BAD_SHARE, Role.CLIENT, Role.TRUSTEE,
        "a client seals a wrong share for TRUSTEE (for several, joined by commas)",
        Consequence(checks=("I8",), remark="TRUSTEE disputes it, and is not asked to release"),
    ),
    Misbehaviour(
        "duplicate", Role.CLIENT, Role.CLIENT,
        "submits twice in one round, both times validly",
        Consequence(checks=("I7",), verdict="duplicate", remark="the first submission counts"),
    ),
    Misbehaviour("dropout", Role.CLIENT, Role.CLIENT, "does not submit", Consequence()),
    Misbehaviour(
        "late", Role.CLIENT, Role.CLIENT,
        "submits when the cohort is closed",
        Consequence(refuser="the coordinator", refusal="order", remark="not logged"),
    ),
)  # fmt: skip

_TRUSTEES = (
    Misbehaviour(
        "lying-trustee", Role.TRUSTEE, Role.TRUSTEE,
        "releases a share that is not the cohort's sum",
        Consequence(checks=("I8",), remark="the coordinator finds the share wrong: logged as evidence, not used"),
    ),
    Misbehaviour(
        "silent-trustee", Role.TRUSTEE, Role.TRUSTEE,
        "after its round key says nothing for a round: no cosignature, acknowledgement or release",
        Consequence(remark="the coordinator gets no answer; m - t may be silent"),
    ),
    Misbehaviour(
        "false-complaint", Role.TRUSTEE, Role.TRUSTEE,
        "disputes the good share of a client",
        Consequence(checks=("I8",), remark="the complainer is not asked to release; the client is summed"),
    ),
    Misbehaviour(
        "other-draw", Role.TRUSTEE, Role.TRUSTEE,
        "gives the value of another round to the draw of clients, rightly proved and signed",
        Consequence(refuser="the coordinator", refusal="draw", remark="the round is opened without its key"),
        needs=DRAWN_CLIENTS,
    ),
    Misbehaviour(
        "colluding-trustees", Role.SERVER, Role.CLIENT,
        "f trustees and the server show two cohorts, with and without CLIENT, and release for both",
        Consequence(
            refuser="every honest trustee", refusal="fork", alone=("I1", "I7", "I8"),
            remark="each the cohort it did not see first; who saw the second does not release it: t did not cosign it",
        ),
    ),
)  # fmt: skip

_SERVER = (
    Misbehaviour(
        "server-adds-term", Role.SERVER, Role.NOBODY,
        "adds a term of its own, encrypted like a client's, to the sum",
        Consequence(status=1, checks=_SUM),
    ),
    Misbehaviour(
        "server-drops-client", Role.SERVER, Role.CLIENT,
        "leaves CLIENT, who confides its secrets to it, out of the sum of a cohort that has it",
        Consequence(status=1, checks=_SUM),
    ),
    Misbehaviour(
        "server-duplicates-client", Role.SERVER, Role.CLIENT,
        "counts CLIENT, who confides its secrets to it, twice",
        Consequence(status=1, checks=_SUM),
    ),
    Misbehaviour(
        "server-rejects-valid", Role.SERVER, Role.CLIENT,
        "excludes the valid submission of CLIENT as an invalid proof",
        Consequence(status=1, checks=("I7", "I8")),
    ),
    Misbehaviour(
        "server-two-cohorts", Role.SERVER, Role.CLIENT,
        "closes a second cohort, without CLIENT, in a round that has one",
        Consequence(refuser="every honest trustee", refusal="order", stops=True, alone=("I1", "I4", "P2")),
    ),
    Misbehaviour(
        "server-private-open", Role.SERVER, Role.CLIENT,
        "shows CLIENT a RoundOpen with another model and keys of the corrupt trustees' choice",
        Consequence(refuser="CLIENT", refusal="checkpoint-quorum", stops=True, alone=("I1", "I4")),
    ),
    Misbehaviour(
        "server-forks-log", Role.SERVER, Role.NOBODY,
        "shows another history, valid in itself, of the rounds that the trustees cosigned",
        Consequence(
            refuser="every honest trustee", refusal="fork", stops=True, after=True, alone=("I1",),
            convicts_alone=(),
        ),
    ),
    Misbehaviour(
        "server-rolls-back", Role.SERVER, Role.NOBODY,
        "goes back to where the round was opened, and on from there as if nobody had answered",
        Consequence(
            refuser="every honest trustee", refusal="rollback", stops=True, after=True, alone=("I1",),
            convicts_alone=(),
        ),
    ),
    Misbehaviour(
        "server-skips-step", Role.SERVER, Role.NOBODY,
        "closes the round with the model that it was opened on",
        Consequence(status=1, checks=("I11",)),
    ),
    Misbehaviour(
        "server-ignores-weights", Role.SERVER, Role.NOBODY,
        "divides the sum of weighed updates by the number of clients",
        Consequence(status=1, checks=("I11",)), needs=STATED_WEIGHTS,
    ),
    Misbehaviour(
        "server-ignores-client", Role.SERVER, Role.CLIENT,
        "does not log the submission of CLIENT",
        Consequence(remark="nobody but CLIENT, who gets no receipt: to all others it dropped out"),
    ),
    Misbehaviour(
        "server-asks-undrawn", Role.SERVER, Role.NOBODY,
        "has clients submit that were not drawn for the round, and logs it",
        Consequence(refuser="every honest trustee", refusal="undrawn", stops=True, alone=("I1", "I5")),
        needs=DRAWN_CLIENTS,
    ),
    Misbehaviour(
        "server-withholds-releases", Role.SERVER, Role.NOBODY,
        "logs t - 1 of the releases, so that the round aborts although the server can open its sum",
        Consequence(
            aborted="missing-releases",
            remark="nobody but the trustees whom the abort names as silent; at most `max_aborts` times",
        ),
    ),
    Misbehaviour(
        "abort-and-retry", Role.SERVER, Role.CLIENT,
        "withholds releases so that the round aborts, and repeats it without CLIENT, whose proof it calls invalid",
        Consequence(
            status=1, checks=("I7", "I8", "P6"), aborted="missing-releases", stops=True,
            refuser="every honest trustee", refusal="differencing", remark="the second sum stays closed",
        ),
    ),
    Misbehaviour(
        "sybil-swap", Role.SERVER, Role.CLIENT,
        "withholds releases so that the round aborts, and repeats it with a client of its own in the place of CLIENT",
        Consequence(
            aborted="missing-releases", stops=True, refuser="every honest trustee", refusal="retry-member",
            alone=_FOREIGN, remark="no second cohort is closed",
        ),
    ),
    Misbehaviour(
        "two-aborts", Role.SERVER, Role.CLIENT,
        "withholds releases twice: of all, then of half of the clients but CLIENT; and repeats the round with the rest",
        Consequence(
            aborted="missing-releases", stops=True, refuser="every honest trustee", refusal="retry-member",
            alone=_FOREIGN, remark="no third cohort is closed",
        ),
        needs="more than twice min_cohort clients",
    ),
)  # fmt: skip

KINDS: dict[str, Misbehaviour] = {
    kind.name: kind for kind in (*_PROVERS, *_WEIGHERS, *_ADDERS, *_CLIENTS, *_TRUSTEES, *_SERVER)
}
