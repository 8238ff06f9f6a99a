"""The numbers that follow from a policy (spec 4.2, 5.1, 5.3, 9.4)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from tests.independent.encoding import Body
from tests.independent.steps import kept_size

DEGREE = 4096
PROVED_NOISE, TAIL = 128, 86
SECURITY = (
    *((24, 727), (26, 661), (28, 605), (30, 556), (32, 514), (34, 477), (36, 444), (38, 414)),
    *((40, 388), (50, 291), (62, 218)),
)


def approving(policy: Body) -> list[tuple[str, bytes]]:
    """Whose approvals a policy demands, in the order of the blob (4.7)."""
    lists = (("trustee", policy["trustees"]), ("client", policy["roster"]))
    keys: dict[str, bytes] = {}
    for each in (each for role, members in lists if role in policy["approvals"] for each in members):
        keys.setdefault(each["id"], each["public_key"])
    return list(keys.items())


def log2_ceiling(number: int) -> int:
    return (number - 1).bit_length()


def estimate(lattice: Body) -> int:
    """Classical bits (6.2, 11.1); 0 where there are none."""
    costs = [cost for size, cost in SECURITY if size >= lattice["modulus"].bit_length()]
    return costs[0] if costs and lattice["degree"] == DEGREE else 0


@dataclass(frozen=True)
class Table:
    """One table of the argument (5.1)."""

    name: str
    rows: int
    columns: int


@dataclass(frozen=True)
class Grouping:
    """Groups of a noise table of r rows and c columns, and its slack table (spec 5.1)."""

    rows: int
    columns: int

    @property
    def size(self) -> int:
        return min(64, self.columns)

    @property
    def per_row(self) -> int:
        return self.columns // self.size

    @property
    def row_bits(self) -> int:
        return log2_ceiling(self.rows)

    @property
    def kept_bits(self) -> int:
        return max(0, self.row_bits - log2_ceiling(self.size // 4))

    @property
    def slack_rows(self) -> int:
        return min(self.rows, 1 << self.kept_bits)

    @property
    def slack_columns(self) -> int:
        return 4 * self.per_row << (self.row_bits - self.kept_bits)


def states_a_weight(policy: Body, stated: int | None, alone: bool = False) -> bool:
    """Whether a submission may state this (4.9); 0 where it is noise alone (4.10)."""
    rule = policy["weights"]
    if alone:
        return stated == 0
    if rule["kind"] == "declared":
        return stated is not None and 1 <= stated <= rule["largest"]
    return stated is None


def bounds_of(law: Body) -> tuple[int, int, int]:
    """E_n, L, U."""
    return int(law["group_bound"]), int(law["floor"]), int(law["ceiling"])


class Numbers:
    """Everything that is computed from a policy, of an update of weight w; valid only where 4.2 holds."""

    def __init__(self, policy: Body, w: int = 1) -> None:
        self.policy = policy
        self.w = w
        self.W: int = policy["weights"]["largest"]
        self.hidden: bool = policy["weights"]["kind"] == "private"
        self.model: int = policy["dimension"]
        self.d: int = self.model + self.hidden  # what is committed, encrypted and summed; a hidden weight is the last
        self.B: int = policy["update"]["norm_bound"]
        self.k: int = policy["projections"]
        self.n: int = policy["max_cohort"]
        self.t: int = policy["threshold"]
        lattice = policy["lattice"]
        self.N: int = lattice["degree"]
        self.q: int = lattice["modulus"]
        self.T: int = lattice["plaintext_scale"]
        self.encrypted: bool = lattice["encryption_proof"]
        self.ranged: bool = policy["update"]["coordinate_bound"] is not None
        self.noise_bound: int = PROVED_NOISE if self.encrypted else TAIL
        noise: Body | None = policy["noise"]
        self.noisy: bool = noise is not None  # for privacy
        own = noise if noise is None or noise["error"] is None else noise["error"]  # of a client
        self.apart: bool = own is not noise
        self.laws = [(0, 0, 0)] if noise is None else [bounds_of(own)]  # of weight W, then of noise alone
        self.laws += [bounds_of(noise)] if self.apart else []
        self.E_n, self.floor, self.ceiling = self.laws[-1 if w == 0 else 0]

    @property
    def message_bound(self) -> int:
        """max|m| of spec 4.2, where the weight is 1."""
        if not self.ranged:
            return self.B
        update = self.policy["update"]
        largest = max(update["coordinate_bound"], *(group["bound"] for group in update["groups"]), 0)
        return max(1, min(self.B, int(largest)))

    # --- the tables of the argument (5.1) ---

    @cached_property
    def column_bits(self) -> int:
        return max(4, -(-log2_ceiling(self.d) // 2))

    @property
    def C(self) -> int:
        return 1 << self.column_bits

    @property
    def R(self) -> int:
        return -(-self.d // self.C)

    @property
    def filled(self) -> int:
        return self.d - (self.R - 1) * self.C

    @property
    def published(self) -> int:
        """Values of an opened sum (8.1): with noise the padding has some, too."""
        return self.cells if self.noisy else self.d

    @property
    def widest_noise(self) -> int:
        return max(law[0] for law in self.laws)

    @property
    def largest_message(self) -> int:
        """Bounds a cell of what is encrypted, of any weight (5.3)."""
        return max(w * self.B + law[0] for w, law in zip((self.W, 0), self.laws, strict=False))

    def sum_bound(self, count: int, weight: int) -> int:
        """Of each value, over so many clients of so much weight together (8.9)."""
        return weight * self.message_bound + count * self.widest_noise

    @property
    def cells(self) -> int:
        return self.R * self.C

    @property
    def elements(self) -> int:
        """Ring elements that the cells of a ciphertext take."""
        return -(-self.cells // self.N)

    @property
    def error_groups(self) -> Grouping:
        return Grouping(self.R, self.C)

    @property
    def key_groups(self) -> Grouping:
        columns = min(self.C, self.N)
        return Grouping(self.N // columns, columns)

    @cached_property
    def tables(self) -> list[Table]:
        tables = [Table("update", self.R, self.C), Table("private", 1, self.C)]
        if self.ranged:
            tables += [Table(f"range-{letter}", self.R, self.C) for letter in "abc"]
        if self.hidden:
            tables += [Table("weight-roots", 1, 8), Table("weight-squares", 1, 8)]
        if self.noisy:
            groups = self.error_groups
            tables.append(Table("noise", self.R, self.C))
            tables.append(Table("noise-slack", groups.slack_rows, groups.slack_columns))
            tables.append(Table("noise-energy", 1, 8))
        if self.encrypted:
            for name, groups in (("error", self.error_groups), ("key", self.key_groups))[self.noisy :]:
                tables.append(Table(name, groups.rows, groups.columns))
                tables.append(Table(f"{name}-slack", groups.slack_rows, groups.slack_columns))
        return tables

    def rows_of(self, *names: str) -> int:
        return sum(table.rows for table in self.tables if table.name.removesuffix("-slack") in names)

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)

    @property
    def row_bits(self) -> int:
        return max(1, log2_ceiling(max(table.rows for table in self.tables)))

    @property
    def variables(self) -> int:
        """l."""
        return self.row_bits + self.column_bits

    @cached_property
    def slices(self) -> list[tuple[int, int, int]]:
        """(start, stop, w beta): the groups, and the general bound between them; none without the range relation."""
        return self.weighed_slices(self.w)

    def weighed_slices(self, w: int) -> list[tuple[int, int, int]]:
        if not self.ranged:
            return []
        general, at = self.policy["update"]["coordinate_bound"], 0
        slices = []
        for group in self.policy["update"]["groups"]:
            if at < group["start"]:
                slices.append((at, group["start"], w * general))
            slices.append((group["start"], group["stop"], w * group["bound"]))
            at = group["stop"]
        if at < self.model:
            slices.append((at, self.model, w * general))
        return [*slices, (self.model, self.d, w)] if self.hidden else slices

    # --- the bounds of 5.3 ---

    @cached_property
    def P(self) -> int:
        squares = max(self.squares(w, law) for w, law in zip((self.W, 0), self.laws, strict=False))
        return math.isqrt(squares * self.rows * self.C) + 1

    def squares(self, w: int, law: tuple[int, int, int]) -> int:
        """F^2 of an update of weight w with noise by this law."""
        squares = (w * self.B) ** 2
        group_bound, floor, ceiling = law
        groups = self.error_groups
        count = groups.rows * groups.per_row
        if self.noisy:
            squares = (w * self.B + math.isqrt(ceiling) + 1) ** 2
            squares += count * group_bound**2 + ceiling - floor
        if self.hidden:
            squares += 2 * self.W**2 + self.W**4
        squares += sum((stop - start) * beta**2 for start, stop, beta in self.weighed_slices(w))
        if self.encrypted:
            keys = self.key_groups.rows * self.key_groups.per_row
            squares += (keys if self.noisy else count + keys) * self.noise_bound**2
        return squares

    @property
    def M(self) -> int:
        return (self.k << 20) * self.P

    @property
    def Z(self) -> int:
        return self.M - self.P

    @property
    def width(self) -> int:
        return self.Z.bit_length() // 8 + 1

    @property
    def weight_bits(self) -> int:
        return min(self.q.bit_length() - 1, 52)

    @property
    def S(self) -> int:
        return -(-149 // (self.weight_bits - 1)) if self.encrypted else 0

    @property
    def combination_bound(self) -> int:
        """L'."""
        E = self.noise_bound
        cell = self.largest_message if self.noisy else self.T * E + self.W * self.B
        return (self.cells << 2 * self.weight_bits) * cell + (self.N * E + 1) * self.q

    @cached_property
    def quotient_projection(self) -> int:
        """P'."""
        return self.combination_bound // self.q + 1

    @property
    def quotient_mask(self) -> int:
        """M'."""
        return (self.S << 20) * self.quotient_projection

    @property
    def quotient_bound(self) -> int:
        """Z'."""
        return self.quotient_mask - self.quotient_projection

    @property
    def quotient_width(self) -> int:
        return self.quotient_bound.bit_length() // 8 + 1

    @property
    def degrees(self) -> list[int]:
        first = 5 if self.ranged or self.encrypted or self.hidden or self.noisy else 4
        return [first] + [first - 2] * (self.variables - 1)

    @property
    def auxiliary_length(self) -> int:
        return self.k + self.S + len(self.tables) + 1 + sum(self.degrees)

    @property
    def key_scalars(self) -> int:
        return -(-self.N // 10)

    @property
    def secret_length(self) -> int:
        """Scalars that a client shares (7.1), and that are under E_0."""
        return self.key_scalars + self.R

    @property
    def proof_size(self) -> int:
        m = len(self.opened)
        size = 33 + self.k * self.width + 32 + 32 * sum(self.degrees) + 32 * len(self.tables) + 33 * m + 32
        size += 32 * m + 32 * (2 * m - 2) + 130 * self.folds + 32 * self.last
        if self.encrypted:
            size += self.S * (8 + self.quotient_width)
        return size

    @property
    def opened(self) -> list[int]:
        """Lengths of x_0, x_1, .. (5.7)."""
        return [self.C, self.auxiliary_length] + ([self.C, self.secret_length] if self.encrypted else [])

    @property
    def lengths(self) -> list[int]:
        """Of the vector before any fold, and after each (5.6)."""
        lengths = [max(self.opened)]
        while lengths[-1] > 16:
            lengths.append(lengths[-1] // 2 + lengths[-1] % 2)
        return lengths

    @property
    def folds(self) -> int:
        return len(self.lengths) - 1

    @property
    def last(self) -> int:
        return self.lengths[-1]

    @property
    def residue_width(self) -> int:
        return -(-self.q.bit_length() // 8)

    # --- sizes of blobs (9.4) ---

    def blob_size(self, kind: str, field: str) -> int:
        """Bytes of the blob that `field` of a message of this type names."""
        if field in ("model", "plaintext"):
            return 8 * (self.published if field == "plaintext" else self.model)
        sizes = {
            "approvals": 64 * len(approving(self.policy)),
            "optimizer": kept_size(self.policy),
            "commitments": 33 * (self.R + 1),
            "ciphertext": self.residue_width * self.cells,
            "share_commitments": 33 * self.t,
            "blob": 32 * (self.secret_length + 1) + 1136,
            "proof": self.proof_size,
            "range_commitments": 33 * self.rows_of("range-a", "range-b", "range-c"),
            "weight_commitments": 33 * self.rows_of("weight-roots", "weight-squares"),
            "privacy_noise_commitments": 33 * self.rows_of("noise", "noise-energy"),
            "noise_commitments": 33 * self.rows_of("error", "key"),
            "share": 32 * (self.secret_length + 1),
            "key": 4 * self.N,
            "blindings": 32 * self.R,
        }
        return sizes[field]
