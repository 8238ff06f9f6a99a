"""What the attacks share: a cheating prover, a transcript that forgets, and the checks written a second time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from proofs.challenger import Challenger
from proofs.curve import ORDER, POINT_SIZE
from proofs.engine import Engine, Table
from proofs.generators import blinding_generator, generator
from proofs.linear_form import LinearForm
from proofs.noise import NoiseGroups
from proofs.noise_witness import SignedNoise
from proofs.parameters import ArgumentParameters
from proofs.polynomials import dot, eq_table
from proofs.privacy_noise import NoiseSigns
from proofs.proof import decode_proof
from proofs.prover import Encrypted, complete, project
from proofs.reference import points as curve
from proofs.relations.encryption import DrawnEncryption
from proofs.relations.noise import ERROR, KEY
from proofs.relations.norm import NOISE, UPDATE
from proofs.relations.privacy_noise import NOISE_ENERGY, NOISE_SLACK
from proofs.relations.range import RANGE_TABLES
from proofs.relations.scale import WEIGHT_ROOTS, WEIGHT_SQUARES
from proofs.transcript import ArgumentTranscript, RelationWeights
from proofs.verifier import Claim
from proofs.witness import CommittedUpdate, commit_tables
from tests.proofs import answers
from tests.proofs.answers import Known, Replayed, known, recorded, refold, replayed
from tests.proofs.arguments import CONTEXT, altered, claim_of, native, noise_relation, residues_of
from tests.seeded import seeded

Encrypt = Callable[[CommittedUpdate], Encrypted]


def forge(
    engine: Engine,
    parameters: ArgumentParameters,
    rows: list[list[int]],
    seed: bytes | str | int = 0,
    others: Mapping[str, Table] | None = None,
    encrypt: Encrypt | None = None,
) -> Known:
    """The honest prover's steps over any tables, without its checks. rows: of the update, then the private row."""
    layout, rand = parameters.layout, seeded(seed)
    tables = {table.name: np.zeros((table.rows, table.columns), dtype=np.int64) for table in layout.tables}
    tables.update(others or {})
    for r, row in enumerate(rows):
        table = tables["private"] if r == parameters.shape.data_rows else tables[UPDATE][r : r + 1]
        table[0, : len(row)] = row
    return forge_tables(engine, parameters, [tables[table.name] for table in layout.tables], rand, encrypt)


def forge_tables(
    engine: Engine,
    parameters: ArgumentParameters,
    tables: list[Table],
    rand: Any,
    encrypt: Encrypt | None = None,
    signed: SignedNoise | None = None,
) -> Known:
    """Commit to these tables and prove them, whatever they are. signed: noise that is committed to already."""
    committed = commit_tables(engine, parameters, tables, rand, signed)
    encrypted = encrypt(committed) if encrypt is not None else None
    projected = project(engine, parameters, committed, CONTEXT, rand, encrypted)
    with recorded() as found:
        proof = complete(engine, parameters, committed, projected, rand, encrypted)
    return known(claim_of(committed, proof.encode(parameters), CONTEXT, encrypted), found[-1])


def forgetting(*labels: str) -> type[Challenger]:
    """A challenger that does not absorb what stands under these labels; with no label, that absorbs nothing."""

    class Forgetful(Challenger):
        def absorb(self, label: str, data: bytes) -> None:
            if labels and label not in labels:
                super().absorb(label, data)

    return Forgetful


@dataclass(frozen=True)
class Derived:
    """What follows from a claim's bytes: challenges, and V6 to V8 as quantities that vanish for an accepted claim."""

    rows: list[int]  # eq(r_rows, r)
    eta: int
    challenge: int
    form: LinearForm
    gap: int  # of V6
    mismatch: list[int]  # of V5: Y but for the ciphertext's combinations, modulo q; none without the ciphertext


def derive(parameters: ArgumentParameters, claim: Claim) -> Derived:
    """V5 and V6 over full tables: slow, and independent of the verifier's short cuts."""
    layout, again, noise_signs = parameters.layout, replayed(native(), parameters, claim), claim.signs(parameters)
    proof, signs, weights, point, opening = again.proof, again.signs, again.weights, again.point, again.opening
    cells = next((each for each in again.drawn if isinstance(each, DrawnEncryption)), None)

    forms, squares = _Cube(parameters, weights, point), _Cube(parameters, weights, point)
    for b, table in enumerate(layout.tables):
        span = layout.spans[b]
        for y in range(table.rows):
            for c in range(parameters.shape.columns):
                pairs = zip(weights.projections, signs.rows[:, span][:, y], signs.columns[:, c], strict=True)
                forms.add(b, y, c, sum(rho * int(s) * int(t) for rho, s, t in pairs))
    constant = dot(weights.projections, proof.projections)
    constant += _padding(parameters, weights, forms, noise_signs)
    bounds = parameters.norm_bound**2 + _range(parameters, weights, forms, squares)
    constant += bounds if parameters.hidden_weight is None else _weight(parameters, weights, forms, squares, bounds)
    if noise_signs is not None:
        constant += _privacy_noise(parameters, weights, squares)
    if cells is not None and claim.encryption is not None:
        constant += _noise(parameters, weights, squares)
        _cells(parameters, weights, forms, cells.rows, cells.columns, claim)
        modulus, values = cells.relation.lattice.modulus, zip(proof.combinations, proof.quotients, strict=True)
        constant += dot(weights.scalars["encryption"], [value + modulus * quotient for value, quotient in values])
    for b, table in enumerate(layout.tables):
        if table.plain:
            squares.everywhere[b] += 1
    values = zip(squares.values(), forms.values(), proof.evaluations, strict=True)
    mask = again.promised - sum(w * (q * w + a) for q, a, w in values)
    if noise_signs is not None:
        by_name = layout.by_name(proof.evaluations)
        mask -= squares.signed(parameters, weights, noise_signs) * by_name[UPDATE] * by_name[NOISE]
    rows = sum(pow(opening.tables, b, ORDER) * w for b, w in enumerate(proof.evaluations))
    target = proof.claim - constant + opening.second * mask + opening.third * rows
    claimed = again.challenge * target + proof.form_announcement
    gap = _gap(claim, again, claimed)
    mismatch = _mismatch(parameters, claim)
    rows_at = eq_table(point[: layout.row_variables])
    return Derived(rows_at, opening.tables, again.challenge, again.form, gap, mismatch)


def _gap(claim: Claim, again: Replayed, claimed: int) -> int:
    """By how much the form differs from what is claimed: at the answers, where they are known, else at the response, of
    which no more than one part can be shown."""
    if isinstance(claim, Known):
        responses = claim.given.responses
        blinding = responses[2][-1] if len(responses) > 2 else 0
        return (again.form.at([each[:-1] for each in responses], blinding) - claimed) % ORDER
    form, value = refold(again, claimed)
    return (dot(form, again.proof.response) - value) % ORDER


def products_of_weights(parameters: ArgumentParameters, claim: Claim) -> list[list[int]]:
    """The weight of every cell in every combination, before reduction modulo q."""
    transcript = ArgumentTranscript(parameters, claim.context, claim.statements, claim.signs(parameters))
    transcript.projection_signs(claim.rows, decode_proof(parameters, claim.proof).auxiliary)
    (cells,) = (each for each in transcript.draw(native()) if isinstance(each, DrawnEncryption))
    pairs = zip(cells.rows.tolist(), cells.columns.tolist(), strict=True)
    return [[x * y for x in rows for y in columns] for rows, columns in pairs]


def combinations_of(parameters: ArgumentParameters, claim: Claim) -> list[int]:
    """Y of the claim's ciphertext, in plain integers."""
    lattice, residues = parameters.encryption, residues_of(claim.encryption).tolist()
    assert lattice is not None
    return [
        sum(weight * residue for weight, residue in zip(weights, residues, strict=True)) % lattice.modulus
        for weights in products_of_weights(parameters, claim)
    ]


def _mismatch(parameters: ArgumentParameters, claim: Claim) -> list[int]:
    lattice = parameters.encryption
    if lattice is None or claim.encryption is None or claim.encryption.ciphertext is None:
        return []
    pairs = zip(decode_proof(parameters, claim.proof).combinations, combinations_of(parameters, claim), strict=True)
    return [(sent - own) % lattice.modulus for sent, own in pairs]


class _Cube:
    """For every table the value at the final point of a polynomial given cell by cell."""

    def __init__(self, parameters: ArgumentParameters, weights: RelationWeights, point: list[int]) -> None:
        variables = parameters.layout.row_variables
        self._rows, self._columns = eq_table(point[:variables]), eq_table(point[variables:])
        self.tau_rows, self.tau_columns = eq_table(weights.row_point), eq_table(weights.column_point)
        self._sums = [0] * len(parameters.layout.tables)
        self.everywhere = [0] * len(parameters.layout.tables)

    def add(self, table: int, row: int, column: int, value: int) -> None:
        self._sums[table] += value * self._rows[row] * self._columns[column]

    def signed(self, parameters: ArgumentParameters, weights: RelationWeights, signs: NoiseSigns) -> int:
        """What stands before message times noise, cell by cell."""
        theta = weights.scalars["range"][0] if parameters.coordinate_bound is not None else 0
        total = 0
        for (y, c), sign in np.ndenumerate(signs.table):
            weight = -2 * int(sign) * (1 + theta * self.tau_rows[y] * self.tau_columns[c])
            total += weight * self._rows[y] * self._columns[c]
        return total % ORDER

    def rows(self) -> range:
        return range(len(self._rows))

    def values(self) -> list[int]:
        return [(x + y) % ORDER for x, y in zip(self._sums, self.everywhere, strict=True)]


def _padding(parameters: ArgumentParameters, weights: RelationWeights, forms: _Cube, signs: NoiseSigns | None) -> int:
    shape = parameters.shape
    for c in range(shape.columns):
        if (shape.data_rows - 1) * shape.columns + c >= parameters.dimension:
            weight = weights.scalars["padding"][0] * forms.tau_columns[c]
            forms.add(0, shape.data_rows - 1, c, weight)
            if signs is not None:
                forms.add(parameters.layout.index(NOISE), shape.data_rows - 1, c, -int(signs.table[-1, c]) * weight)
    return 0


def _range(parameters: ArgumentParameters, weights: RelationWeights, forms: _Cube, squares: _Cube) -> int:
    if parameters.coordinate_bound is None:
        return 0
    layout, columns = parameters.layout, parameters.shape.columns
    noise = () if parameters.privacy_noise is None else (NOISE,)
    involved = [layout.index(name) for name in (UPDATE, *RANGE_TABLES, *noise)]
    constant = 0
    for y in forms.rows():
        for c in range(columns):
            value = weights.scalars["range"][0] * forms.tau_rows[y] * forms.tau_columns[c]
            for b in involved:
                squares.add(b, y, c, value)
            if y < parameters.shape.data_rows:
                forms.add(involved[1], y, c, value)
            i = y * columns + c
            bounds = [s.bound for s in parameters.segments if s.start <= i < s.stop]
            constant += value * bounds[0] ** 2 if bounds else 0
    return constant


def _weight(parameters: ArgumentParameters, weights: RelationWeights, forms: _Cube, squares: _Cube, bounds: int) -> int:
    """y_c = t_c^2, t_0 = u_(d - 1), y_0 + .. + y_4 = (W + 1) t_0 - W; and all other bounds times y_0."""
    layout, largest = parameters.layout, parameters.hidden_weight
    assert largest is not None
    roots, of_squares = layout.index(WEIGHT_ROOTS), layout.index(WEIGHT_SQUARES)
    of_cells, of_copy, of_interval = weights.scalars["client-weight"]
    first_bits = eq_table(weights.column_point[:3])
    for c in range(8):
        for y in squares.rows():
            squares.add(roots, y, c, of_cells * squares.tau_rows[y] * first_bits[c])
        forms.add(of_squares, 0, c, -of_cells * forms.tau_rows[0] * first_bits[c])
        forms.add(of_squares, 0, c, of_interval if c < 5 else 0)
    forms.add(roots, 0, 0, of_copy - (largest + 1) * of_interval)
    last = parameters.dimension - 1
    forms.add(0, last // parameters.shape.columns, last % parameters.shape.columns, -of_copy)
    forms.add(of_squares, 0, 0, -(bounds + 1))
    return -largest * of_interval


def _noise(parameters: ArgumentParameters, weights: RelationWeights, squares: _Cube) -> int:
    """Of errors, if there are some, and of the key."""
    relation, constant = noise_relation(parameters), 0
    for (name, slack, groups), theta in zip(relation.parts, weights.scalars["noise"], strict=True):
        constant += _groups(parameters, weights, squares, (name, slack), groups, theta, relation.lattice.noise_bound)
    return constant


def _privacy_noise(parameters: ArgumentParameters, weights: RelationWeights, squares: _Cube) -> int:
    """Its groups; and eight squares, of which four are the energy less the floor, four the ceiling less the energy."""
    layout, bounds, shape = parameters.layout, parameters.privacy_noise, parameters.shape
    assert bounds is not None
    theta, energy = weights.scalars["privacy-noise"]
    groups = NoiseGroups(shape.data_rows, shape.columns)
    constant = _groups(parameters, weights, squares, (NOISE, NOISE_SLACK), groups, theta, bounds.group)
    above, below = energy * (1 - weights.column_point[2]), energy * weights.column_point[2]
    for y in squares.rows():
        for c in range(8):
            weight = above if c < 4 else below
            squares.add(layout.index(NOISE_ENERGY), y, c, weight * squares.tau_rows[y])
    squares.everywhere[layout.index(NOISE)] += (below - above) * squares.tau_rows[0]
    return constant + (below * bounds.ceiling - above * bounds.floor) * squares.tau_rows[0]


def _groups(
    parameters: ArgumentParameters,
    weights: RelationWeights,
    squares: _Cube,
    names: tuple[str, str],
    groups: NoiseGroups,
    theta: int,
    bound: int,
) -> int:
    """Each group's equation times eq(tau, its row) eq(tau, its columns) and the common factor, at its own cells."""
    noise, slack = (parameters.layout.index(name) for name in names)
    low, high = groups.kept_variables, groups.row_variables
    factor = theta
    for tau in weights.row_point[low:high]:
        factor = factor * (1 - tau) % ORDER
    first = groups.size.bit_length() - 1
    among = eq_table(weights.column_point[first : first + groups.per_row.bit_length() - 1])
    for y in squares.rows():
        for c in range(groups.columns):
            squares.add(noise, y, c, factor * squares.tau_rows[y] * among[c // groups.size])
    _slack(squares, slack, groups, theta, among, eq_table(weights.row_point[low:high]))
    return sum(factor * squares.tau_rows[y] * bound**2 for y in range(groups.rows))


def _slack(squares: _Cube, table: int, groups: NoiseGroups, theta: int, among: list[int], highs: list[int]) -> None:
    for y in squares.rows():
        for c in range(groups.slack_columns):
            high, group = divmod(c // 4, groups.per_row)
            squares.add(table, y, c, theta * squares.tau_rows[y] * among[group] * highs[high])


def _cells(
    parameters: ArgumentParameters,
    weights: RelationWeights,
    forms: _Cube,
    row_weights: Table,
    column_weights: Table,
    claim: Claim,
) -> None:
    """The combinations of the encryption's equations and the packing, cell by cell."""
    layout, lattice, statement = parameters.layout, parameters.encryption, claim.encryption
    assert lattice is not None
    assert statement is not None
    n, columns = lattice.degree, parameters.shape.columns
    key_columns = noise_relation(parameters).key.columns
    chunks = statement.elements.coefficients.tolist()
    on_key = [0] * n
    for omega, left, right in zip(
        weights.scalars["encryption"], row_weights.tolist(), column_weights.tolist(), strict=True
    ):
        alpha = [0] * n
        for x in range(parameters.shape.data_cells):
            weight, (j, m) = left[x // columns] * right[x % columns], divmod(x, n)
            forms.add(layout.index(UPDATE), x // columns, x % columns, omega * weight)
            if lattice.has_errors:
                forms.add(layout.index(ERROR), x // columns, x % columns, omega * weight * lattice.plaintext_scale)
            for i in range(n):
                alpha[i] += weight * (chunks[j][m - i] if i <= m else -chunks[j][n + m - i])
        on_key = [value + omega * (a % lattice.modulus) for value, a in zip(on_key, alpha, strict=True)]
    zeta, xi = weights.scalars["packing"]
    for i, value in enumerate(on_key):
        packing = zeta * pow(xi, i // 10, ORDER) * 2 ** (24 * (i % 10))
        forms.add(layout.index(KEY), i // key_columns, i % key_columns, value + packing)


def edit(parameters: ArgumentParameters, claim: Claim, /, **changes: Any) -> Any:
    """The claim with fields of its proof, or of its answers, replaced: see `tests.proofs.answers`."""
    return answers.edit(native(), parameters, claim, **changes)


def close_gap(parameters: ArgumentParameters, family: Callable[[int], Claim]) -> Any:
    """The member of a one-parameter family of claims that satisfies V6, whose gap is of degree at most 2 in it."""
    values = [derive(parameters, family(x)).gap for x in range(3)]
    second = (values[2] - 2 * values[1] + values[0]) * pow(2, -1, ORDER) % ORDER
    first = (values[1] - values[0] - second) % ORDER
    if second == 0:
        return family(-values[0] * pow(first, -1, ORDER) % ORDER)
    root = square_root((first * first - 4 * second * values[0]) % ORDER)
    return family((root - first) * pow(2 * second, -1, ORDER) % ORDER)


class NoSquareRootError(Exception):
    """Half of all attempts end here."""


def square_root(value: int) -> int:
    """Modulo ORDER (Tonelli and Shanks; ORDER - 1 = 64 * odd)."""
    odd, nonresidue = (ORDER - 1) >> 6, 2
    while pow(nonresidue, ORDER // 2, ORDER) == 1:
        nonresidue += 1
    root, rest, twist = pow(value, (odd + 1) // 2, ORDER), pow(value, odd, ORDER), pow(nonresidue, odd, ORDER)
    for level in range(5, 0, -1):
        if pow(rest, 1 << level - 1, ORDER) == ORDER - 1:
            root, rest = root * twist % ORDER, rest * twist * twist % ORDER
        twist = twist * twist % ORDER
    if root * root % ORDER != value % ORDER:
        raise NoSquareRootError
    return root


def combination(encoded: bytes, scalars: list[int], opening: tuple[int, ...] | list[int], blinding: int) -> bytes:
    """sum_i scalars[i] P_i + Com(opening; blinding), for concatenated encoded points."""
    bases = [curve.from_affine(generator(i)) for i in range(len(opening))] + [curve.from_affine(blinding_generator())]
    total = curve.combine([*curve.decode_all(encoded), *bases], [*scalars, *opening, blinding])
    return curve.encode(total)


def row_weights(parameters: ArgumentParameters, derived: Derived) -> list[int]:
    """eta^b eq(r_rows, y) for every row of every table."""
    tables = enumerate(parameters.layout.tables)
    return [pow(derived.eta, b, ORDER) * derived.rows[y] % ORDER for b, table in tables for y in range(table.rows)]


def table_announcement(parameters: ArgumentParameters, claim: Known) -> bytes:
    """The first message that satisfies the table opening: Com(response) - c sum eq D."""
    given, derived = claim.given, derive(parameters, claim)
    weights = row_weights(parameters, derived)
    encoded = b"".join(claim.rows[label] for label in parameters.layout.families)
    if parameters.encryption is not None:
        weights[: parameters.shape.data_rows] = [0] * parameters.shape.data_rows
    scalars = [-derived.challenge * weight for weight in weights]
    return combination(encoded, scalars, given.table_response, given.table_blinding_response)


def update_announcement(parameters: ArgumentParameters, claim: Known) -> bytes:
    """The first message that satisfies the update opening."""
    given, derived = claim.given, derive(parameters, claim)
    assert given.update_blinding_response is not None
    rows = derived.rows[: parameters.shape.data_rows]
    encoded, scalars = claim.commitments[: POINT_SIZE * len(rows)], [-derived.challenge * weight for weight in rows]
    return combination(encoded, scalars, given.update_response, given.update_blinding_response)


def auxiliary_announcement(parameters: ArgumentParameters, claim: Known) -> bytes:
    """The first message that satisfies the auxiliary opening: Com(response) - c A."""
    given, scalars = claim.given, [-derive(parameters, claim).challenge]
    encoded = decode_proof(parameters, claim.proof).auxiliary
    return combination(encoded, scalars, given.auxiliary_response, given.auxiliary_blinding_response)


def share_announcement(parameters: ArgumentParameters, claim: Known) -> bytes:
    """The first message that satisfies the share opening: Com(response) - c E_0."""
    given, scalars = claim.given, [-derive(parameters, claim).challenge]
    assert claim.encryption is not None
    assert given.share_blinding_response is not None
    encoded = claim.encryption.share_commitment
    return combination(encoded, scalars, given.share_response, given.share_blinding_response)


def vector_weight(parameters: ArgumentParameters, claim: Claim) -> int:
    """mu."""
    again = replayed(native(), parameters, claim)
    return again.transcript.vector_weight(again.proof.blinding_responses, again.proof.cross_values)


def missing_in_the_opening(parameters: ArgumentParameters, claim: Claim) -> bytes:
    """What the sum of V7 is where it should be the identity, without encryption; from the definitions, fold by fold."""
    again, derived = replayed(native(), parameters, claim), derive(parameters, claim)
    proof, c = again.proof, again.challenge
    mu = again.transcript.vector_weight(proof.blinding_responses, proof.cross_values)
    weights = [c * weight for weight in row_weights(parameters, derived)]
    encoded = b"".join(claim.rows[label] for label in parameters.layout.families)
    encoded += proof.table_announcement + proof.auxiliary + proof.auxiliary_announcement
    first, second = proof.blinding_responses
    total = combination(encoded, [*weights, 1, mu * c, mu], [], -(first + mu * second))
    vector, phis = list(proof.response), []
    for fold in proof.folds:
        phis.append(again.transcript.fold_challenge(fold))
        total = combination(fold.even + total + fold.odd, [1, phis[-1], phis[-1] ** 2], [], 0)
    for phi in reversed(phis):  # <x, phi G_even + G_odd>
        vector = [entry for value in vector for entry in (value * phi, value)]
    return combination(total, [1], [-value for value in vector[: max(parameters.opened)]], 0)


def another_point(index: int = 1000) -> bytes:
    """A point that nobody's commitment is."""
    return curve.encode(curve.from_affine(generator(index)))


def first_row(claim: Claim, point: bytes) -> Claim:
    """The claim with D_0 replaced."""
    return altered(claim, commitments=point + claim.commitments[POINT_SIZE:])
