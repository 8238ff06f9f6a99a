"""What noise hides: its bounds and the account of a budget (spec 4.10, 10.4, 10.5), to a hundred digits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

import mpmath

from tests.independent.encoding import Body
from tests.independent.noise_alone import adding, by_trustees, demanded, laws, training
from tests.independent.parameters import estimate

DIGITS = 100
LARGEST_EPSILON = 1024
EPSILON_UNIT, DELTA_UNIT = 10**6, 10**12
LOSS = Fraction(1, 2**100)
LATTICE_VARIANCE, LEAST_VARIANCE, LEAST_FLOOR = 22, 64, 16

Number = mpmath.mpf


def exact(value: Fraction) -> Number:
    return mpmath.mpf(value.numerator) / value.denominator


def cells_of(d: int) -> tuple[int, int]:
    """Cells of the data rows, and of a group (5.1)."""
    bits = 4
    while 4**bits < d:
        bits += 1
    return -(-d // 2**bits) * 2**bits, min(64, 2**bits)


def tail(cells: int, energy: Fraction) -> Number:
    """The bound of Lemma 7 for `energy` times the mean; 1 at the mean."""
    a = exact(energy)
    return mpmath.exp(-mpmath.mpf(cells) / 2 * (a - 1 - mpmath.log(a)))


def deviation(policy: Body, noise: Body) -> Number:
    """`deviation` of 10.4, of one submission with noise by this law."""
    cells, group = cells_of(policy["dimension"])
    variance = Fraction(noise["variance"], noise["variance_divisor"])
    found = (cells // group) * tail(group, max(Fraction(1), noise["group_bound"] ** 2 / (group * variance)))
    found += tail(cells, min(Fraction(1), noise["floor"] / (cells * variance)))
    found += tail(cells, max(Fraction(1), noise["ceiling"] / (cells * variance)))
    return found + mpmath.mpf(2) ** -110 + mpmath.mpf(2**24 + 9 * cells**2) / 2**128


def eta(policy: Body) -> Number:
    """Over all submissions that there can be (4.10)."""
    return 2 * policy["max_rounds"] * sum(count * deviation(policy, law) for law, count in laws(policy))


def curve(mu: Number, epsilon: Number) -> Number:
    """delta_G of 10.5."""
    first = mpmath.ncdf(mu / 2 - epsilon / mu)
    return first - mpmath.exp(epsilon) * mpmath.ncdf(-mu / 2 - epsilon / mu)


def mu_squared(policy: Body, rounds: int) -> Number:
    noise = policy["noise"]
    sensitivity = policy["weights"]["largest"] * policy["update"]["norm_bound"]
    variance = noise["honest"] * Fraction(noise["variance"], noise["variance_divisor"]) - LATTICE_VARIANCE
    return exact(Fraction(rounds * sensitivity**2) / variance)


def budget(policy: Body) -> tuple[Fraction, Fraction]:
    """epsilon and delta."""
    said = policy["privacy_budget"]
    return Fraction(said["epsilon_millionths"], EPSILON_UNIT), Fraction(said["delta_trillionths"], DELTA_UNIT)


def former_eta(policy: Body) -> Number:
    """Of the federations whose budgets are gone on with (4.8)."""
    bits = [each["deviation_bits"] for each in policy["privacy_budget"]["former"]]
    return sum((mpmath.mpf(2) ** -each for each in bits), mpmath.mpf(0))


def spent_before(policy: Body, client: str) -> Number:
    """mu^2 of a client in those, each by its own rule."""
    total = mpmath.mpf(0)
    for each in policy["privacy_budget"]["former"]:
        rounds = {charge["client"]: charge["cohorts"] for charge in each["charges"]}.get(client, 0)
        variance = each["honest"] * Fraction(each["variance"], each["variance_divisor"]) - LATTICE_VARIANCE
        total += exact(Fraction(rounds * each["sensitivity"] ** 2) / variance)
    return total


def holds(policy: Body, epsilon: Fraction, rounds: int, client: str = "") -> bool:
    """Whether this epsilon is proved, with the budget's delta, for a client in so many closed cohorts (10.5)."""
    with mpmath.workdps(DIGITS):
        delta, rare = exact(budget(policy)[1]), eta(policy) + former_eta(policy)
        e = min(exact(epsilon), mpmath.log(delta / (2 * rare)))
        if e <= 0:
            return False
        mu = mpmath.sqrt(mu_squared(policy, rounds) + spent_before(policy, client))
        ideal = (1 + 2 * exact(LOSS)) * curve(mu, e - 2 * exact(LOSS))
        return bool(ideal + mpmath.exp(e) * rare <= delta * (1 - rare))


def rare_enough(policy: Body) -> bool:
    """2 e^epsilon eta <= delta."""
    with mpmath.workdps(DIGITS):
        epsilon, delta = budget(policy)
        return bool(2 * mpmath.exp(exact(epsilon)) * (eta(policy) + former_eta(policy)) <= exact(delta))


def rounds_each(policy: Body, client: str = "") -> int:
    """K: the most rounds, up to max_rounds, that the budget has room for (4.10): of this client, or of one that spent
    nothing before."""
    low, high = 0, min(policy["max_rounds"], 2**16)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(policy, budget(policy)[0], middle, client) else (low, middle - 1)
    return low


def guesses(policy: Body) -> Number:
    """log2 of what 11.4 multiplies the advantage against RLWE with."""
    clients, honest = len(policy["roster"]), policy["noise"]["honest"]
    asked = min(policy["per_round"] or clients, clients)
    ways = math.comb(asked - 1, honest - 1) if asked >= 1 and honest >= 1 else 0
    if by_trustees(policy):
        ways = math.comb(len(adding(policy)), honest)
    with mpmath.workdps(DIGITS):
        epsilon = exact(budget(policy)[0])
        factor = (ways + 1) * (honest + 2 * clients) * policy["max_rounds"]
        return mpmath.log(4 * (1 + mpmath.exp(epsilon)) * max(factor, 1), 2)


def conditions(policy: Body) -> list[tuple[str, bool]]:
    """Those of 4.2 on noise and budget."""
    noise, said = policy["noise"], policy["privacy_budget"]
    if noise is None and said is None:
        return []
    if noise is None or said is None:
        return [("noise-budget", False)]
    trustees = len(policy["trustees"])
    clients = {member["id"] for member in policy["roster"]}
    both = sum(member["id"] in clients for member in policy["trustees"])
    epsilon, delta = budget(policy)
    if by_trustees(policy):
        asked = len(policy["roster"]) if policy["per_round"] is None else policy["per_round"] + trustees
        found = [
            ("noise-adders", demanded(policy) <= trustees),
            ("noise-error", noise["error"] is not None),
            ("noise-trustees", both == trustees),
            ("noise-room", asked <= policy["max_cohort"]),
        ]
    else:
        found = [
            ("noise-adders", noise["honest"] + min(both, policy["corrupt"]) <= policy["min_cohort"]),
            ("noise-error", noise["error"] is None),
        ]
    found += law_conditions(policy, noise, "noise")
    found += law_conditions(policy, noise["error"], "error") if noise["error"] is not None else []
    found += [
        ("noise-rule", noise["rule"] == "discrete-gaussian"),
        ("noise-by", noise["by"] in ("clients", "trustees")),
        ("noise-honest", noise["honest"] >= 1),
        ("noise-weights", policy["weights"]["kind"] != "private"),
        ("noise-proof", policy["lattice"]["encryption_proof"]),
        ("noise-scale", policy["lattice"]["plaintext_scale"] == 1),
        ("noise-hiding", hidden(policy)),
        ("budget-epsilon", 0 < epsilon <= LARGEST_EPSILON),
        ("budget-delta", 0 < delta < 1),
        ("budget-former", orderly(policy)),
    ]
    moving = min(policy["weights"]["largest"], policy["update"]["norm_bound"]) >= 1  # conditions of their own
    if moving and all(each for _, each in found):
        able = sum(rounds_each(policy, name) >= 1 for name in training(policy))
        found += [("noise-deviation", rare_enough(policy)), ("budget-rounds", able >= policy["min_cohort"])]
    return found


def hidden(policy: Body) -> bool:
    """Whether 128 bits of the estimate are left."""
    defined = len(policy["roster"]) <= 2**13 and 0 < budget(policy)[0] <= LARGEST_EPSILON
    return defined and bool(guesses(policy) + 128 <= estimate(policy["lattice"]))


def law_conditions(policy: Body, law: Body, name: str) -> list[tuple[str, bool]]:
    """Of a law of noise and its bounds."""
    variance, divisor = law["variance"], law["variance_divisor"]
    cells, group = cells_of(policy["dimension"])
    return [
        (f"{name}-fraction", math.gcd(variance, divisor) == 1),
        (f"{name}-divisor", divisor >= 1),
        (f"{name}-variance", variance >= LEAST_VARIANCE * divisor),
        (f"{name}-variance-limit", variance <= divisor << 48),
        (f"{name}-group", law["group_bound"] ** 2 * divisor > group * variance),
        (f"{name}-floor", law["floor"] * divisor < cells * variance),
        (f"{name}-floor-least", law["floor"] >= LEAST_FLOOR * cells),
        (f"{name}-ceiling", law["ceiling"] * divisor > cells * variance),
    ]


def carried(policy: Body, charged: Mapping[str, int]) -> list[Body]:
    """`former` of a policy that goes on from a federation with this one, where clients are in so many cohorts (4.8)."""
    noise, said = policy["noise"], policy["privacy_budget"]
    if noise is None or said is None:
        return []
    own_law, _ = laws(policy)[0]
    with mpmath.workdps(DIGITS):
        bits = int(mpmath.floor(-mpmath.log(eta(policy), 2)))
    own = {
        "federation": policy["federation"],
        "sensitivity": policy["weights"]["largest"] * policy["update"]["norm_bound"],
        **{name: noise[name] for name in ("variance", "variance_divisor", "honest")},
        "deviation_bits": bits,
        "own_variance": own_law["variance"] // own_law["variance_divisor"],
        "charges": [{"client": name, "cohorts": charged[name]} for name in sorted(set(charged) - adding(policy))],
    }
    return [*said["former"], own]


def orderly(policy: Body) -> bool:
    """Whether former budgets are spelled as 4.8 has it."""
    former = policy["privacy_budget"]["former"]
    if former and policy["previous"] is None:
        return False
    for each in former:
        names, divisor = [charge["client"] for charge in each["charges"]], each["variance_divisor"]
        counts = [charge["cohorts"] for charge in each["charges"]]
        sound = (
            names == sorted(set(names)),
            all(1 <= count <= 2**16 for count in counts),
            divisor >= 1 and math.gcd(each["variance"], divisor) == 1 and each["variance"] >= LEAST_VARIANCE * divisor,
            each["sensitivity"] >= 1 and 1 <= each["honest"] <= 2**13,
            1 <= each["deviation_bits"] <= 1024 and each["own_variance"] >= LEAST_VARIANCE,
        )
        if not all(sound):
            return False
    return True
