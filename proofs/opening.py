"""The prover's last step: that committed vectors satisfy one linear form (spec 5.9).

Schnorr's proof for all of them, of which the masked responses are not sent: they are joined in one vector, and that is
folded until it is short (Attema and Cramer 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proofs.curve import ORDER
from proofs.engine import Engine
from proofs.folding import Fold, Folding, combined, combined_form, cross_values
from proofs.linear_form import LinearForm
from proofs.parameters import ArgumentParameters
from proofs.polynomials import add, dot, scale
from proofs.proof import Announcements
from proofs.randomness import Randomness, uniform_scalars
from proofs.relations.terms import FinalPoint
from proofs.transcript import ArgumentTranscript
from proofs.witness import CommittedUpdate


class Masked:
    """Secret scalars with a fresh uniform mask, answered once."""

    def __init__(self, secret: Sequence[int], rand: Randomness) -> None:
        self._secret = secret
        self.mask = uniform_scalars(rand, len(secret))

    def announcement(self, engine: Engine) -> bytes:
        """Com(mask), the blinding of the commitment being the last of the scalars."""
        return engine.commit(self.mask[:-1], self.mask[-1])

    def respond(self, challenge: int) -> tuple[int, ...]:
        """challenge * secret + mask."""
        return tuple((challenge * s + m) % ORDER for s, m in zip(self._secret, self.mask, strict=True))


@dataclass(frozen=True, repr=False, eq=False)  # secret: stays out of messages
class Openings:
    """What is opened, each with its blinding last: the combination of all rows, or of all but the update's; A; with the
    encryption's proof the combination of the update's rows, and E_0."""

    openings: tuple[Masked, ...]

    def announce(self, engine: Engine, form: LinearForm) -> Announcements:
        """The first messages."""
        table, auxiliary, *apart = (each.announcement(engine) for each in self.openings)
        update, share = apart or (b"", b"")
        masks = [each.mask[:-1] for each in self.openings]
        blinding = self.openings[2].mask[-1] if apart else 0
        return Announcements(table, auxiliary, update, share, form.at(masks, blinding))

    def respond(self, challenge: int) -> list[tuple[int, ...]]:
        """The masked vectors, each with its blinding last."""
        return [each.respond(challenge) for each in self.openings]


@dataclass(frozen=True)
class Folded:
    """What is sent of the responses."""

    blindings: tuple[int, ...]
    crossed: tuple[int, ...]
    folds: tuple[Fold, ...]
    response: tuple[int, ...]


def fold_responses(
    engine: Engine, transcript: ArgumentTranscript, form: LinearForm, responses: Sequence[Sequence[int]], last: int
) -> Folded:
    """responses: masked vectors in the order of `LinearForm.parts`, each with its blinding last. last: scalars that are
    left when it is folded. Whoever has the responses can do this, so it needs no mask."""
    vectors, blindings = [each[:-1] for each in responses], tuple(each[-1] for each in responses)
    crossed = tuple(cross_values(vectors, form.parts))
    mu = transcript.vector_weight(blindings, crossed)
    folding, folds = Folding(combined(vectors, mu), combined_form(form.parts, mu)), list[Fold]()
    while len(folding.vector) > last:
        even, odd = (engine.commit(scalars, 0) for scalars in folding.across())
        folds.append(Fold(even, odd, *folding.values()))
        folding.bind(transcript.fold_challenge(folds[-1]))
    return Folded(blindings, crossed, tuple(folds), tuple(folding.vector))


def draw_openings(
    engine: Engine,
    parameters: ArgumentParameters,
    committed: CommittedUpdate,
    auxiliary: Sequence[int],
    share: Sequence[int],
    final: FinalPoint,
    eta: int,
    rand: Randomness,
) -> Openings:
    """auxiliary: A's vector and its blinding. share: E_0's, empty without the encryption's proof."""
    layout = parameters.layout
    parts = [_combined_rows(engine, committed, b, span, final.rows) for b, span in enumerate(layout.spans)]
    together = [scale(part, pow(eta, b, ORDER)) for b, part in enumerate(parts) if b not in layout.apart]
    apart = [parts[b] for b in layout.apart]
    secrets = [_sum(together), auxiliary, *((*apart, share) if apart else ())]
    return Openings(tuple(Masked(secret, rand) for secret in secrets))


def _combined_rows(
    engine: Engine, committed: CommittedUpdate, table: int, span: slice, equal: Sequence[int]
) -> list[int]:
    """sum_r eq(r_rows, r) of a table's rows, one scalar for every column of its own, and of their blindings."""
    rows = equal[: span.stop - span.start]
    blinding = dot(rows, committed.row_blindings[span])
    return [*engine.weighted_columns(committed.tables[table], rows), blinding]


def _sum(parts: Sequence[Sequence[int]]) -> list[int]:
    """Sum of vectors of any lengths, each with its blinding last."""
    return [*add(*(part[:-1] for part in parts)), sum(part[-1] for part in parts) % ORDER]
