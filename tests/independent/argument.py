"""The verifier of the short-vector argument (spec 5.4 to 5.10), from the definitions rather than for speed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from math import prod

from tests.independent.challenger import Challenger
from tests.independent.claims import Claim, split
from tests.independent.curve import ORDER, Point, Relation, decode_point, decode_points, decode_scalars
from tests.independent.encoding import Unreadable
from tests.independent.lattice import public_element, ring_product
from tests.independent.parameters import Grouping, Numbers, Table


class Refused(Exception):
    """A proof that fails a named check of V4 to V7."""


def signed_integers(data: bytes, width: int) -> list[int]:
    return [int.from_bytes(data[i : i + width], "big", signed=True) for i in range(0, len(data), width)]


def eq(a: Sequence[int], b: Sequence[int]) -> int:
    result = 1
    for x, y in zip(a, b, strict=True):
        result = result * (x * y + (1 - x) * (1 - y)) % ORDER
    return result


def eq_table(point: Sequence[int]) -> list[int]:
    """eq(point, i) for every integer i, least significant bit first."""
    table = [1]
    for x in point:
        table = [value * (1 - x) % ORDER for value in table] + [value * x % ORDER for value in table]
    return table


def inner(a: Sequence[int], b: Sequence[int]) -> int:
    """The inner product over the shorter of two vectors."""
    return sum(x * y for x, y in zip(a, b, strict=False)) % ORDER


class Verification:
    """One run of 5.10."""

    def __init__(self, numbers: Numbers, claim: Claim) -> None:
        self.numbers = numbers
        self.claim = claim
        self.challenger = Challenger(b"verifl/v1/short-vector-argument")

    def run(self) -> None:
        self._decode()
        self._bounds()
        self._statement()
        self._matrices()
        self._weights()
        self._rounds()
        self._opening()
        self._linear_relation()
        self._folded_point()

    # --- V1 to V4 ---

    def _decode(self) -> None:
        numbers, claim = self.numbers, self.claim
        wanted = [
            (claim.commitments, numbers.rows_of("update", "private"), "commitments-length"),
            (claim.range_commitments, numbers.rows_of("range-a", "range-b", "range-c"), "range-commitments-length"),
            (claim.weight_commitments, numbers.rows_of("weight-roots", "weight-squares"), "weight-commitments-length"),
            (
                claim.privacy_noise_commitments,
                numbers.rows_of("noise", "noise-energy"),
                "privacy-noise-commitments-length",
            ),
            (claim.noise_commitments, numbers.rows_of("error", "key"), "encryption-commitments-length"),
        ]
        for data, rows, name in wanted:
            if len(data) != 33 * rows:
                raise Unreadable(name)
        self.proof = split(claim.proof, numbers)
        self.rows = decode_points(b"".join(data for data, _, _ in wanted))
        self.auxiliary = decode_point(self.proof.auxiliary)
        self.announcements = [decode_point(data) for data in self.proof.announcements]
        self.fold_points = [decode_points(points) for points, _ in self.proof.folds]
        self.share = decode_point(claim.share_commitment) if numbers.encrypted else None

    def _bounds(self) -> None:
        numbers, proof = self.numbers, self.proof
        self.z = signed_integers(proof.projections, numbers.width)
        self.Y = [int.from_bytes(proof.combinations[i : i + 8], "big") for i in range(0, 8 * numbers.S, 8)]
        self.z_prime = signed_integers(proof.quotients, numbers.quotient_width) if numbers.encrypted else []
        if any(abs(z) > numbers.Z for z in self.z):
            raise Refused("shortness")
        if any(abs(z) > numbers.quotient_bound for z in self.z_prime):
            raise Refused("quotient-range")
        if any(y >= numbers.q for y in self.Y):
            raise Refused("combination-range")

    # --- V5: the transcript of 5.5 ---

    def _statement(self) -> None:
        numbers, claim, challenger = self.numbers, self.claim, self.challenger
        statement = [numbers.d, numbers.C, numbers.w * numbers.B, numbers.k, numbers.M, numbers.Z, len(numbers.slices)]
        statement += [number for piece in numbers.slices for number in piece]
        if numbers.hidden:
            statement.append(numbers.W)
        if numbers.noisy:
            statement += [numbers.E_n, numbers.floor, numbers.ceiling, 64]
        if numbers.encrypted:
            statement += [numbers.N, numbers.q, numbers.T, numbers.noise_bound, 64, 24, 10]
            statement += [numbers.S, numbers.weight_bits, numbers.quotient_mask, numbers.quotient_bound]
        if numbers.noisy:
            challenger.absorb("noise-signs", self._signs())
        challenger.absorb("context", claim.context)
        challenger.absorb("statement", b"".join(number.to_bytes(32, "big") for number in statement))
        if numbers.encrypted:
            digest = hashlib.sha256()
            for j in range(numbers.elements):
                for value in public_element(claim.seed, j, numbers.q, numbers.N):
                    digest.update(value.to_bytes(8, "little"))
            challenger.absorb("ring-elements", digest.digest())
            challenger.absorb("ciphertext", claim.ciphertext_hash)
            challenger.absorb("share-commitment", claim.share_commitment)

    def _signs(self) -> bytes:
        """5.4: the signs of the noise, and the state that they leave."""
        numbers, claim = self.numbers, self.claim
        challenger = Challenger(b"verifl/v1/noise-signs")
        challenger.absorb("sign-context", claim.sign_context)
        challenger.absorb("noise-commitments", claim.privacy_noise_commitments[: 33 * numbers.R])
        bits = challenger.bits("noise-signs", numbers.R, numbers.C)
        self.noise_signs = [[1 - 2 * bit for bit in row] for row in bits]
        return challenger.state

    def _matrices(self) -> None:
        """Step 2: commitments, then signs and cell weights; Y against the ciphertext."""
        numbers, claim, challenger = self.numbers, self.claim, self.challenger
        challenger.absorb("commitments", claim.commitments)
        if numbers.ranged:
            challenger.absorb("range-commitments", claim.range_commitments)
        if numbers.hidden:
            challenger.absorb("weight-commitments", claim.weight_commitments)
        if numbers.noisy:
            challenger.absorb("privacy-noise-commitments", claim.privacy_noise_commitments)
        if numbers.encrypted:
            challenger.absorb("encryption-commitments", claim.noise_commitments)
        challenger.absorb("auxiliary", self.proof.auxiliary)
        self.s = challenger.signs("row-signs", numbers.k, numbers.rows)
        self.t = challenger.signs("column-signs", numbers.k, numbers.C)
        if not numbers.encrypted:
            return
        self.c_rows = challenger.integers("row-weights", numbers.S, numbers.R, numbers.weight_bits)
        self.c_columns = challenger.integers("column-weights", numbers.S, numbers.C, numbers.weight_bits)
        if claim.ciphertext is not None:
            for s in range(numbers.S):
                if inner_modulo(self._cell_weights(s), claim.ciphertext, numbers.q) != self.Y[s]:
                    raise Refused("ciphertext-combination")

    def _cell_weights(self, s: int) -> list[int]:
        return [row * column % self.numbers.q for row in self.c_rows[s] for column in self.c_columns[s]]

    def _alpha(self, s: int) -> list[int]:
        """alpha_s of 5.8: the weights times the a_j, mirrored (X to its inverse)."""
        numbers = self.numbers
        N, q = numbers.N, numbers.q
        weights = self._cell_weights(s)
        total = [0] * N
        for j in range(numbers.elements):
            part = weights[j * N : (j + 1) * N]
            part += [0] * (N - len(part))
            a = public_element(self.claim.seed, j, q, N)
            mirrored = [a[0]] + [(q - value) % q for value in reversed(a[1:])]
            total = [x + y for x, y in zip(total, ring_product(part, mirrored, q), strict=True)]
        return [value % q for value in total]

    def _weights(self) -> None:
        """Step 3: what was projected, then the weights of all relations."""
        numbers, challenger, proof = self.numbers, self.challenger, self.proof
        challenger.absorb("projections", proof.projections)
        if numbers.encrypted:
            challenger.absorb("combinations", proof.combinations)
            challenger.absorb("quotients", proof.quotients)
        self.rho = challenger.scalars("projection-weights", numbers.k)
        self.theta_p = challenger.scalar("padding-weight")
        self.tau = challenger.scalars("cube-point", numbers.variables)
        self.theta_r = challenger.scalar("range-weight") if numbers.ranged else 0
        drawn = challenger.scalars("weight-factors", 3) if numbers.hidden else [0, 0, 0]
        self.theta_s, self.theta_w, self.theta_i = drawn
        self.theta = {"error": 0, "key": 0}
        if numbers.noisy:
            self.theta["noise"], self.theta_b = challenger.scalars("noise-weights", 2)
        self.zeta = self.xi = 0
        self.omega: list[int] = []
        if numbers.encrypted:
            drawn = challenger.scalars("encryption-weights", 4 - numbers.noisy + numbers.S)
            drawn = [0, *drawn] if numbers.noisy else drawn
            self.theta |= {"error": drawn[0], "key": drawn[1]}
            self.zeta, self.xi, self.omega = drawn[2], drawn[3], drawn[4:]

    def _rounds(self) -> None:
        """Steps 4 and 5: e is the value that the rounds promise at r."""
        self.challenger.absorb("claim", self.proof.claim)
        promised = int.from_bytes(self.proof.claim, "big")
        self.r: list[int] = []
        for data in self.proof.rounds:
            self.challenger.absorb("round", data)
            constant, *higher = decode_scalars(data)
            linear = promised - 2 * constant - sum(higher)
            x = self.challenger.scalar("round-challenge")
            coefficients = [constant, linear, *higher]
            promised = sum(value * pow(x, power, ORDER) for power, value in enumerate(coefficients)) % ORDER
            self.r.append(x)
        self.e = promised

    def _opening(self) -> None:
        """Steps 6 to 9."""
        challenger, proof = self.challenger, self.proof
        challenger.absorb("evaluations", proof.evaluations)
        self.w = decode_scalars(proof.evaluations)
        kappas = challenger.scalars("opening-weights", 3 + self.numbers.encrypted)
        self.eta, self.kappa_2, self.kappa_3, *fourth = kappas
        self.kappa_4 = fourth[0] if fourth else 0
        labels = ("table-announcement", "auxiliary-announcement", "update-announcement", "share-announcement")
        for label, data in zip(labels, proof.announcements, strict=False):
            challenger.absorb(label, data)
        challenger.absorb("form-announcement", proof.form)
        self.c = challenger.scalar("opening-challenge")
        challenger.absorb("blinding-responses", proof.blindings)
        challenger.absorb("cross-values", proof.across)
        self.mu = challenger.scalar("vector-weight")
        self.phi: list[int] = []
        for points, scalars in proof.folds:
            challenger.absorb("fold-commitments", points)
            challenger.absorb("fold-values", scalars)
            self.phi.append(challenger.scalar("fold-challenge"))

    # --- what 5.7 says of r ---

    @property
    def _row_point(self) -> list[int]:
        return self.r[: self.numbers.row_bits]

    @property
    def _column_point(self) -> list[int]:
        return self.r[self.numbers.row_bits :]

    def _grouping(self, name: str) -> Grouping:
        return self.numbers.key_groups if name == "key" else self.numbers.error_groups

    def _column_weights(self, table: Table) -> list[int]:
        """W_b(column) of 5.7; the columns that a table lacks are left out."""
        tau_rows, tau_columns = self.tau[: self.numbers.row_bits], self.tau[self.numbers.row_bits :]
        name, is_slack = table.name.removesuffix("-slack"), table.name.endswith("-slack")
        if table.name in ("private", "weight-squares"):
            return []
        if table.name == "weight-roots":
            return [self.theta_s * value % ORDER for value in eq_table(tau_columns[:3])]
        if table.name == "noise-energy":
            t = tau_columns[2]
            return [self.theta_b * (t if column & 4 else 1 - t) % ORDER for column in range(8)]
        if name not in self.theta:
            return [self.theta_r * value % ORDER for value in eq_table(tau_columns)] if self.numbers.ranged else []
        groups = self._grouping(name)
        size_bits = groups.size.bit_length() - 1
        sigma = tau_columns[size_bits : groups.columns.bit_length() - 1]
        folded = tau_rows[groups.kept_bits : groups.row_bits]
        if is_slack:
            of_group = eq_table([*sigma, *folded])
            return [self.theta[name] * of_group[column // 4] % ORDER for column in range(groups.slack_columns)]
        of_group = eq_table(sigma)
        weight = self.theta[name] * prod(1 - x for x in folded) % ORDER
        weights = [weight * of_group[column // groups.size] % ORDER for column in range(groups.columns)]
        if table.name == "noise" and self.numbers.ranged:
            return [x + self.theta_r * y for x, y in zip(weights, eq_table(tau_columns), strict=True)]
        return weights

    def _phi(self) -> int:
        """What the squares of the noise weigh beside 1."""
        t = self.tau[self.numbers.row_bits + 2]
        return self.theta_b * eq_table(self.tau[: self.numbers.row_bits])[0] * (2 * t - 1) % ORDER

    def _signed_weight(self) -> int:
        """W_s(r) of 5.7, from its values on the cells."""
        numbers = self.numbers
        tau_rows, tau_columns = eq_table(self.tau[: numbers.row_bits]), eq_table(self.tau[numbers.row_bits :])
        rows, columns, total = eq_table(self._row_point), eq_table(self._column_point), 0
        for y, signs in enumerate(self.noise_signs):
            for c, sign in enumerate(signs):
                weight = 1 + self.theta_r * tau_rows[y] * tau_columns[c]
                total -= 2 * sign * weight * (rows[y] * columns[c] % ORDER)
        return total % ORDER

    def _values_at_r(self) -> tuple[list[int], list[int]]:
        """Q_b(r) and a_b(r) for every table."""
        numbers = self.numbers
        rows, columns = eq_table(self._row_point), eq_table(self._column_point)
        tau_rows = self.tau[: numbers.row_bits]
        along_rows = eq(tau_rows, self._row_point)
        squares, linear = [], []
        projected = [inner(t, columns) * rho % ORDER for t, rho in zip(self.t, self.rho, strict=True)]
        first = 0
        for table in numbers.tables:
            constant = 1 if table.name in ("update", "private") else 0
            if table.name == "noise":
                constant = 1 + self._phi()
            squares.append(constant + along_rows * inner(self._column_weights(table), columns))
            of_rows = [inner(s[first : first + table.rows], rows) for s in self.s]
            linear.append((inner(projected, of_rows) + self._forms(table, rows, columns)) % ORDER)
            first += table.rows
        return squares, linear

    def _forms(self, table: Table, rows: list[int], columns: list[int]) -> int:
        """a_b(r) but for the projections."""
        numbers = self.numbers
        tau_rows, tau_columns = self.tau[: numbers.row_bits], self.tau[numbers.row_bits :]
        total = 0
        if table.name == "update":
            of_padding = inner(eq_table(tau_columns)[numbers.filled :], columns[numbers.filled :])
            total += self.theta_p * rows[numbers.R - 1] * of_padding
        if table.name == "noise":
            signed = [sign * x for sign, x in zip(self.noise_signs[-1], eq_table(tau_columns), strict=True)]
            total -= self.theta_p * rows[numbers.R - 1] * inner(signed[numbers.filled :], columns[numbers.filled :])
        if table.name == "range-a":
            of_rows = inner(eq_table(tau_rows)[: numbers.R], rows)
            total += self.theta_r * of_rows * eq(tau_columns, self._column_point)
        if table.name in ("update", "error") and numbers.encrypted:
            cells = sum(
                omega * inner(c_rows, rows) * inner(c_columns, columns)
                for omega, c_rows, c_columns in zip(self.omega, self.c_rows, self.c_columns, strict=True)
            )
            total += cells * (numbers.T if table.name == "error" else 1)
        if numbers.hidden:
            total += self._form_of_the_weight(table, rows, columns)
        if table.name == "key":
            form = self._key_form()
            width = table.columns
            total += sum(rows[y] * inner(form[y * width : (y + 1) * width], columns) for y in range(table.rows))
        return total

    def _form_of_the_weight(self, table: Table, rows: list[int], columns: list[int]) -> int:
        numbers = self.numbers
        tau_rows, tau_columns = self.tau[: numbers.row_bits], self.tau[numbers.row_bits :]
        if table.name == "update":
            row, column = divmod(numbers.d - 1, numbers.C)
            return -self.theta_w * rows[row] * columns[column]
        if table.name == "weight-roots":
            return (self.theta_w - (numbers.W + 1) * self.theta_i) * rows[0] * columns[0]
        if table.name == "weight-squares":
            each = [-self.theta_s * eq_table(tau_rows)[0] * value for value in eq_table(tau_columns[:3])]
            each = [value + (self.theta_i if c < 5 else 0) for c, value in enumerate(each)]
            each[0] -= self._squared_bounds() + 1
            return rows[0] * inner(each, columns)
        return 0

    def _key_form(self) -> list[int]:
        numbers = self.numbers
        alphas = [self._alpha(s) for s in range(numbers.S)]
        powers = [pow(self.xi, j, ORDER) for j in range(numbers.key_scalars)]
        return [
            (inner(self.omega, [alpha[i] for alpha in alphas]) + (self.zeta * powers[i // 10] << 24 * (i % 10))) % ORDER
            for i in range(numbers.N)
        ]

    def _constant(self) -> int:
        """K of 5.7."""
        numbers = self.numbers
        tau_rows = self.tau[: numbers.row_bits]
        rows = eq_table(tau_rows)
        total = -numbers.W * self.theta_i if numbers.hidden else self._squared_bounds()
        for table in numbers.tables:
            if table.name in self.theta:
                groups = self._grouping(table.name)
                folded = prod(1 - x for x in tau_rows[groups.kept_bits : groups.row_bits])
                bound = numbers.E_n if table.name == "noise" else numbers.noise_bound
                total += self.theta[table.name] * folded * sum(rows[: table.rows]) * bound**2
        if numbers.noisy:
            t = self.tau[numbers.row_bits + 2]
            total += self.theta_b * rows[0] * (t * numbers.ceiling - (1 - t) * numbers.floor)
        return total % ORDER

    def _squared_bounds(self) -> int:
        """What the squares of norm and range sum to; times the square of a hidden weight."""
        numbers = self.numbers
        rows, columns = eq_table(self.tau[: numbers.row_bits]), eq_table(self.tau[numbers.row_bits :])
        total = (numbers.w * numbers.B) ** 2
        for start, stop, beta in numbers.slices:
            cells = sum(rows[i // numbers.C] * columns[i % numbers.C] for i in range(start, stop))
            total += self.theta_r * cells * beta**2
        return total

    # --- V6 ---

    def _linear_relation(self) -> None:
        numbers, proof = self.numbers, self.proof
        squares, linear = self._values_at_r()
        first = -inner(self.rho, self.z) - sum(
            omega * (Y + numbers.q * z) for omega, Y, z in zip(self.omega, self.Y, self.z_prime, strict=True)
        )
        first += int.from_bytes(proof.claim, "big") - self._constant()
        second = self.e - sum(w * (Q * w + a) for w, Q, a in zip(self.w, squares, linear, strict=True))
        if numbers.noisy:
            names = [table.name for table in numbers.tables]
            second -= self._signed_weight() * self.w[names.index("update")] * self.w[names.index("noise")]
        third = sum(pow(self.eta, b, ORDER) * w for b, w in enumerate(self.w))
        value = first + self.kappa_2 * second + self.kappa_3 * third
        self.blindings = decode_scalars(proof.blindings)
        claimed = self.c * value + int.from_bytes(proof.form, "big")
        if numbers.encrypted:
            claimed += self.kappa_4 * self.blindings[2]
        if self._folded_value(claimed) != inner(self._joined_form(), self._unfolded_response()):
            raise Refused("linear-relation")

    def _folded_value(self, claimed: int) -> int:
        """v of 5.9, from V on."""
        across = decode_scalars(self.proof.across)
        across.insert(len(across) // 2, claimed)
        v = sum(q * pow(self.mu, e, ORDER) for e, q in enumerate(across))
        for phi, (_, scalars) in zip(self.phi, self.proof.folds, strict=True):
            e, o = decode_scalars(scalars)
            v = e + phi * v + phi * phi * o
        return v % ORDER

    def _joined_form(self) -> list[int]:
        """L at first: the sum of mu^(m-1-i) L_i."""
        numbers = self.numbers
        columns = [self.kappa_3 * x for x in eq_table(self._column_point)]
        forms = [columns, self._auxiliary_form()]
        if numbers.encrypted:
            on_key = [self.zeta * pow(self.xi, s, ORDER) for s in range(numbers.key_scalars)]
            forms += [columns, on_key + [self.kappa_4 * x for x in eq_table(self._row_point)[: numbers.R]]]
        joined = [0] * numbers.lengths[0]
        for i, form in enumerate(reversed(forms)):
            for place, coefficient in enumerate(form):
                joined[place] += pow(self.mu, i, ORDER) * coefficient
        return joined

    def _unfolded_response(self) -> list[int]:
        """The s_i of 5.10."""
        found = []
        for i in range(self.numbers.lengths[0]):
            s = self.proof.response[i >> len(self.phi)]
            for j, phi in enumerate(self.phi):
                s = s if i >> j & 1 else s * phi % ORDER
            found.append(s)
        return found

    def _auxiliary_form(self) -> list[int]:
        """The coefficients of the linear form on the vector under A."""
        numbers = self.numbers
        pad = self.kappa_3 * self.r[0] * (1 - self.r[0]) % ORDER
        form = [-rho for rho in self.rho] + [-numbers.q * omega for omega in self.omega]
        form += [pad * pow(self.eta, b, ORDER) for b in range(len(numbers.tables))]
        form.append(pow(2, numbers.variables) + self.kappa_2)
        for x, degree in zip(self.r, numbers.degrees, strict=True):
            form += [
                pow(2, numbers.variables - 1) + self.kappa_2 * pow(x, power, ORDER) for power in range(1, degree + 1)
            ]
        return form

    # --- V7 ---

    def _folded_point(self) -> None:
        relation = Relation()
        factors = [prod(self.phi[j + 1 :]) for j in range(len(self.phi))]  # of what fold j adds
        for factor, phi, points in zip(factors, self.phi, self.fold_points, strict=True):
            relation.add_points([factor, factor * phi * phi], points)
        first = prod(self.phi)
        for i, (scalars, points) in enumerate(self._opened()):
            weight = first * pow(self.mu, i, ORDER)
            relation.add_points([self.c * scalar for scalar in scalars], points, weight)
            relation.add_points([1], [self.announcements[i]], weight)
            relation.subtract_commitment([], self.blindings[i], weight)
        relation.subtract_commitment(self._unfolded_response(), 0)
        if not relation.holds():
            raise Refused("opening")

    def _opened(self) -> list[tuple[list[int], list[Point]]]:
        """X_0, X_1, .. as combinations."""
        rows = eq_table(self._row_point)
        scalars = [pow(self.eta, b, ORDER) * y for b, t in enumerate(self.numbers.tables) for y in rows[: t.rows]]
        if self.share is None:
            return [(scalars, self.rows), ([1], [self.auxiliary])]
        apart = self.numbers.R
        rest, update = (scalars[apart:], self.rows[apart:]), (rows[:apart], self.rows[:apart])
        return [rest, ([1], [self.auxiliary]), update, ([1], [self.share])]


def inner_modulo(a: Sequence[int], b: Sequence[int], q: int) -> int:
    return sum(x * y for x, y in zip(a, b, strict=True)) % q


_held: set[bytes] = set()  # what was found to hold: the same transcripts are audited again and again


def verify(numbers: Numbers, claim: Claim) -> None:
    """Return, or raise `Unreadable` (Malformed) or `Refused` (Rejected) with the name of the check."""
    everything = hashlib.sha256(repr((numbers.policy, numbers.w, claim)).encode()).digest()
    if everything not in _held:
        Verification(numbers, claim).run()
        _held.add(everything)
