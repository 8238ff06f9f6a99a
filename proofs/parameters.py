"""Parameters of the short-vector argument and the inequalities they must satisfy (spec 5.3).

| symbol | name | meaning |
|---|---|---|
| d, C | shape | coordinates, columns |
| B | norm_bound | exact L2 bound of an update of weight 1, fixed-point units |
| beta | coordinate_bound, groups | exact bounds on coordinates of one of weight 1 |
| w, W | weight, largest_weight | by which its bounds are multiplied, and the largest there is |
| W | hidden_weight | the same W of weights that stay hidden |
| N, q, T, E | encryption | ring, plaintext scale, bound on noise |
| E_n, L, U | privacy_noise | bounds on noise for privacy: of a group, and on all of its energy |
| | update_noise | the same of updates, where others send noise alone, of weight 0 |
| k | projections | random projections |
| F^2 | squares_bound | bounds the sum of squares of all cells of an honest prover |
| P, M, Z | projection_bound, .. | of the projections: |s^T V t| < P, masks in [-M, M], Z = M - P |
| P', M', Z' | quotients | the same of the integers that relations send |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import ClassVar

from proofs.curve import ORDER, POINT_SIZE, SCALAR_SIZE
from proofs.encryption import RESIDUE_SIZE, EncryptionParameters
from proofs.errors import Misuse
from proofs.folding import FoldedLength
from proofs.layout import Layout
from proofs.privacy_noise import MAXIMUM_MESSAGE, NoiseBounds
from proofs.ranges import MAXIMUM_COORDINATE_BOUND, CoordinateGroup, coordinate_segments
from proofs.relations.client_weight import MAXIMUM_WEIGHT, ClientWeight
from proofs.relations.encryption import Encryption
from proofs.relations.noise import ShortNoise
from proofs.relations.norm import Norm
from proofs.relations.packing import Packing
from proofs.relations.padding import Padding
from proofs.relations.privacy_noise import PrivacyNoise
from proofs.relations.range import Range
from proofs.relations.relation import MaskedIntegers, Relation, Sent, WrapBound, signed_width
from proofs.relations.scale import Scale
from proofs.shape import TableShape

MAXIMUM_NORM_BOUND = 2**40
LEAST_PROJECTIONS = 360
MAXIMUM_PROJECTIONS = 4096
MINIMUM_WEIGHTED_DIMENSION = 2  # the weight, and something that it weighs
PAD_DEGREE = 2  # of the pad in the first variable
SUMMAND_DEGREE = 2
WEIGHTED_SUMMAND_DEGREE = 3
_OF_WEIGHT = ("segments", "relations", "layout")  # what the weight changes; all else is of every w, or of W


@dataclass(frozen=True)
class ArgumentParameters:
    """What prover and verifier agree on beforehand; never read from a proof.

    dimension: d, 1 to 2^32. norm_bound: B, W B from 1 to 2^40. projections: k, 360 to 4096, so that (3/4)^k <= 2^-149.
    coordinate_bound: beta of the coordinates outside all `groups`, W beta from 0 to 2^20; None for no bounds on
    coordinates. encryption: None for no proof of encryption. further: relations beyond these, in force behind them.
    weight, largest_weight: 1 <= w <= W; what has a size, and what masks, is the same for every w. hidden_weight: W, 1
    to 2^20, where w stays hidden: it is the last of the d >= 2 coordinates, and `weight` and `largest_weight` are 1;
    None where it does not. privacy_noise: bounds of the noise that the message carries for privacy; None for none.
    update_noise: bounds of the noise of updates, where `privacy_noise` is that of messages which are noise alone: these
    have the weight 0, so that every bound on their update is 0; None where there are none of these.
    Beside a hidden weight there is none, beside the encryption's proof it takes the place of the errors (T = 1), and
    W B + E_n is at most 2^40. Raises Misuse that names the inequality and both of its sides, or says which relations do
    not go together.
    """

    dimension: int
    norm_bound: int
    projections: int = LEAST_PROJECTIONS
    coordinate_bound: int | None = None
    groups: tuple[CoordinateGroup, ...] = ()
    encryption: EncryptionParameters | None = None
    further: tuple[Relation, ...] = ()
    weight: int = 1
    largest_weight: int = 1
    hidden_weight: int | None = None
    privacy_noise: NoiseBounds | None = None
    update_noise: NoiseBounds | None = None

    minimum_projections: ClassVar[int] = LEAST_PROJECTIONS

    def __post_init__(self) -> None:
        self._check_range()
        if not 1 <= self.norm_bound <= MAXIMUM_NORM_BOUND // self.largest_weight:
            name = "B" if self.largest_weight == 1 else f"{self.largest_weight} B"
            found = self.largest_weight * self.norm_bound
            raise Misuse(f"norm bound: expected 1 <= {name} <= {MAXIMUM_NORM_BOUND}, found {found}")
        if not self.minimum_projections <= self.projections <= MAXIMUM_PROJECTIONS:
            allowed = f"{self.minimum_projections} <= k <= {MAXIMUM_PROJECTIONS}"
            raise Misuse(f"projections: expected {allowed}, found {self.projections}")
        if self.coordinate_bound is None and self.groups:
            raise Misuse("groups: expected a coordinate bound for the coordinates outside them, found none")
        self._check_weight()
        self._check_noise()
        for bound in self.wrap_bounds:
            if bound.left >= ORDER:
                raise Misuse(f"no wrap-around ({bound.name}): expected less than ord = {ORDER}, found {bound.left}")

    def _check_range(self) -> None:
        if not self.least_weight <= self.weight <= self.largest_weight:
            allowed = f"{self.least_weight} <= w <= W = {self.largest_weight}"
            raise Misuse(f"weight: expected {allowed}, found {self.weight}")

    def _check_weight(self) -> None:
        largest = self.hidden_weight
        if largest is None:
            return
        if self.largest_weight != 1:
            raise Misuse(f"largest weight: expected 1 where the weight is hidden, found {self.largest_weight}")
        if not 1 <= largest <= MAXIMUM_WEIGHT:
            raise Misuse(f"hidden weight: expected 1 <= W <= {MAXIMUM_WEIGHT}, found {largest}")
        if self.dimension < MINIMUM_WEIGHTED_DIMENSION:
            raise Misuse(f"dimension: expected a coordinate beside the weight, found d = {self.dimension}")
        if self.norm_bound * largest > MAXIMUM_NORM_BOUND:
            raise Misuse(f"hidden weight: expected B W <= {MAXIMUM_NORM_BOUND}, found {self.norm_bound * largest}")
        bound = max(self.coordinate_bound or 0, *(segment.bound for segment in self.segments), 0)
        if bound * largest > MAXIMUM_COORDINATE_BOUND:
            raise Misuse(f"hidden weight: expected beta W <= {MAXIMUM_COORDINATE_BOUND}, found {bound * largest}")

    def _check_noise(self) -> None:
        noise, lattice = self.privacy_noise, self.encryption
        if lattice is not None and lattice.has_errors == (noise is not None):
            expected = "1, as noise takes the place of errors" if noise is not None else "2 or more without noise"
            raise Misuse(f"plaintext scale: expected {expected}, found {lattice.plaintext_scale}")
        if noise is None:
            if self.update_noise is not None:
                raise Misuse("noise of updates: expected none without noise for privacy, found some")
            return
        if self.hidden_weight is not None:
            raise Misuse(f"hidden weight: expected none beside noise for privacy, found W = {self.hidden_weight}")
        for each in (noise, *(() if self.update_noise is None else (self.update_noise,))):
            most = PrivacyNoise(self.shape, each).groups.count * each.group**2
            if each.ceiling > most:
                raise Misuse(f"noise: expected U <= {most}, all groups at E_n, found U = {each.ceiling}")
        if self.message_bound > MAXIMUM_MESSAGE:
            raise Misuse(f"noise: expected W B + E_n <= {MAXIMUM_MESSAGE}, found {self.message_bound}")

    @property
    def message_bound(self) -> int:
        """Bounds every cell of what is encrypted, of the heaviest update: B, with noise B + E_n; or of noise alone."""
        largest = self.largest_weight * self.scale.largest * self.norm_bound
        if self.privacy_noise is None:
            return largest
        if self.update_noise is None:
            return largest + self.privacy_noise.group
        return max(largest + self.update_noise.group, self.privacy_noise.group)

    @property
    def least_weight(self) -> int:
        """0 where there is noise alone, else 1."""
        return 1 if self.update_noise is None else 0

    @property
    def noise_bounds(self) -> NoiseBounds | None:
        """Of the noise for privacy of a message of this weight; None for none."""
        return self._noise_of(self.weight)

    def _noise_of(self, weight: int) -> NoiseBounds | None:
        return self.privacy_noise if weight == 0 or self.update_noise is None else self.update_noise

    @cached_property
    def scale(self) -> Scale:
        """What every bound is multiplied with."""
        return Scale(self.hidden_weight)

    @cached_property
    def shape(self) -> TableShape:
        """Rows and columns of the vector's table."""
        return TableShape(self.dimension)

    def weighing(self, weight: int) -> ArgumentParameters:
        """The same of an update of this weight; raises Misuse unless there is such a weight. What the weight does not
        change is computed once: of thousands of weights, and a policy of thousands of groups, that is most of it."""
        if weight == self.weight:
            return self
        made = copy(self)
        object.__setattr__(made, "weight", weight)
        made._check_range()
        for name in _OF_WEIGHT:
            made.__dict__.pop(name, None)
        return made

    @cached_property
    def segments(self) -> tuple[CoordinateGroup, ...]:
        """Every coordinate's bound, w beta: slices that cover the vector; none without a coordinate bound."""
        return self._segments(self.weight)

    def _segments(self, weight: int) -> tuple[CoordinateGroup, ...]:
        if self.coordinate_bound is None:
            return ()
        groups = [CoordinateGroup(each.start, each.stop, weight * each.bound) for each in self.groups]
        others = self.dimension - self.scale.own_square
        hidden = (CoordinateGroup(others, self.dimension, 1),) if self.scale.own_square else ()
        return (*coordinate_segments(others, weight * self.coordinate_bound, groups), *hidden)

    @cached_property
    def relations(self) -> tuple[Relation, ...]:
        """Those in force, in the order of everything that is theirs: tables, statement, commitments, challenges."""
        return self._relations(self.weight)

    @cached_property
    def _extremes(self) -> tuple[tuple[Relation, ...], ...]:
        """The same of an update of weight W, and of noise alone, where there is such: what must not wrap around, and
        what masks have to cover."""
        weights = (self.largest_weight,) if self.update_noise is None else (self.largest_weight, 0)
        return tuple(self.relations if weight == self.weight else self._relations(weight) for weight in weights)

    def _relations(self, weight: int) -> tuple[Relation, ...]:
        noise = self._noise_of(weight)
        found: list[Relation] = [Norm(self.shape, weight * self.norm_bound, self.scale, noise)]
        found.append(Padding(self.shape, noise is not None))
        if segments := self.segments if weight == self.weight else self._segments(weight):
            found.append(Range(self.shape, segments, self.scale, noise is not None))
        if self.hidden_weight is not None:
            found.append(ClientWeight(self.shape, self.hidden_weight))
        if noise is not None:
            found.append(PrivacyNoise(self.shape, noise))
        if self.encryption is not None:
            found += [ShortNoise(self.shape, self.encryption), Packing(self.shape, self.encryption)]
            found.append(Encryption(self.shape, self.encryption, self.message_bound))
        return (*found, *self.further)

    @cached_property
    def layout(self) -> Layout:
        """The tables of the relations in force."""
        return Layout(self.shape, self.relations)

    @cached_property
    def squares_bound(self) -> int:
        """F^2: bounds the sum of squares of all tables of an honest prover, of whatever weight."""
        return max(sum(relation.squares_bound for relation in relations) for relations in self._extremes)

    @cached_property
    def projection_bound(self) -> int:
        """P: bounds |s^T V t| for signs s, t and all tables of an honest prover, by Cauchy-Schwarz."""
        cells = self.layout.total_rows * self.shape.columns
        return math.isqrt(self.squares_bound * cells) + 1

    @cached_property
    def mask_bound(self) -> int:
        """M: the masks of the projections are uniform in [-M, M]."""
        return MaskedIntegers(self.projections, self.projection_bound).mask_bound

    @cached_property
    def response_bound(self) -> int:
        """Z: the largest |z_j| that is sent and accepted."""
        return self.mask_bound - self.projection_bound

    @cached_property
    def response_width(self) -> int:
        """Bytes of one z_j, two's complement."""
        return signed_width(self.response_bound)

    @cached_property
    def combinations(self) -> int:
        """Residues that the relations send."""
        return sum(relation.combinations for relation in self.relations)

    @cached_property
    def quotients(self) -> tuple[MaskedIntegers, ...]:
        """Integers that the relations send, relation by relation."""
        return tuple(relation.quotients for relation in self.relations if relation.quotients.count)

    def sent(self, combinations: Sequence[int], quotients: Sequence[int]) -> list[Sent]:
        """What stands in a proof of each relation, in order."""
        residues, integers = iter(combinations), iter(quotients)
        return [
            Sent(tuple(islice(residues, each.combinations)), tuple(islice(integers, each.quotients.count)))
            for each in self.relations
        ]

    @cached_property
    def wrap_bounds(self) -> tuple[WrapBound, ...]:
        """What must stay below ORDER (spec 5.3): entries are within 4 Z by the projections, then exactly bounded."""
        entry = 4 * self.response_bound
        own = [bound for relations in self._extremes for each in relations for bound in each.wrap_bounds(entry)]
        return (WrapBound("projections", 2 * entry), *own)

    @cached_property
    def round_degrees(self) -> tuple[int, ...]:
        """Degree of each round's polynomial: with weighted squares one more; the pad adds two in the first round."""
        later = WEIGHTED_SUMMAND_DEGREE if self.layout.classes else SUMMAND_DEGREE
        return (later + PAD_DEGREE,) + (later,) * (self.layout.variables - 1)

    @cached_property
    def auxiliary_length(self) -> int:
        """Scalars under A: masks of projections and quotients, pads, constant and coefficients of the mask."""
        masks = self.projections + sum(each.count for each in self.quotients)
        return masks + len(self.layout.tables) + 1 + sum(self.round_degrees)

    @cached_property
    def share_length(self) -> int:
        """Scalars under E_0: the packed key and the blindings of the data rows; 0 without the encryption's proof."""
        return sum(relation.shared for relation in self.relations)

    @cached_property
    def opened(self) -> tuple[int, ...]:
        """Lengths of the vectors that are opened: of rows, of A; with the encryption's proof of the update's rows, of
        E_0."""
        columns = self.shape.columns
        return (columns, self.auxiliary_length, *((columns, self.share_length) if self.layout.apart else ()))

    @cached_property
    def folded(self) -> FoldedLength:
        """How all of them together are folded."""
        return FoldedLength.of(max(self.opened))

    def commitments_size(self, label: str) -> int:
        """Bytes of the row commitments with this label in the transcript; 0 where there must be none."""
        return POINT_SIZE * self.layout.families.get(label, 0)

    @cached_property
    def proof_size(self) -> int:
        """Bytes of a proof: every proof under these parameters has this size."""
        openings, folds = len(self.opened), self.folded.folds
        scalars = 1 + sum(self.round_degrees) + len(self.layout.tables) + 1
        scalars += openings + 2 * (openings - 1) + 2 * folds + self.folded.last
        integers = self.projections * self.response_width + self.combinations * RESIDUE_SIZE
        integers += sum(each.count * each.width for each in self.quotients)
        return (1 + openings + 2 * folds) * POINT_SIZE + integers + scalars * SCALAR_SIZE
