"""What goes wrong in the history of a seed, and when: all of it is drawn before the history begins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random

from tests.simulator import Setting

HOST = "coordinator"
CALM = 240.0  # seconds after which nothing more goes wrong
TAIL = 1500.0  # seconds within which the wanted rounds have closed then
LYING_CLIENTS = ("bad-proof", "bad-share", "dropout", "duplicate", "replayed-proof", "stale-model")
LYING_TRUSTEES = ("false-complaint", "lying-trustee", "silent-trustee")


@dataclass(frozen=True)
class Quality:
    """Of a link: the probabilities that a request is lost, that only its answer is, that what is PUT arrives again
    later, that it arrives in two parts with time in between, that a file which changes comes from a cache; and the
    seconds that a request takes at most."""

    lost: float = 0.0
    unanswered: float = 0.0
    again: float = 0.0
    in_parts: float = 0.0
    cached: float = 0.0
    slow: float = 0.0


PERFECT = Quality()


@dataclass(frozen=True)
class Kill:
    """From `at` on a party lives for so many steps on its disk, or until it has sent so many answers. power: its
    machine loses power, not just the process. It is started again after `down` seconds."""

    party: str
    at: float
    steps: int | None
    power: bool
    down: float
    answers: int | None = None


@dataclass(frozen=True)
class Cut:
    """A party reaches nobody."""

    party: str
    at: float
    seconds: float


@dataclass(frozen=True)
class Jump:
    """A party's clock is so far ahead from now on, or behind."""

    party: str
    at: float
    ahead: float


@dataclass(frozen=True)
class Full:
    """A party's disk has no room for new files."""

    party: str
    at: float
    seconds: float


@dataclass(frozen=True)
class OldCopy:
    """Somebody puts a copy of a party's disk, made at `copied`, in the place of its disk."""

    party: str
    copied: float
    at: float


@dataclass(frozen=True)
class Away:
    """A party is stopped, and started again after so many seconds; None for never."""

    party: str
    at: float
    seconds: float | None


@dataclass(frozen=True)
class OldCoordinator:
    """Somebody puts a copy of the coordinator's state, made at `copied`, in the place of its state. whole: and of all
    that it publishes."""

    party: str
    copied: float
    at: float
    whole: bool


@dataclass(frozen=True)
class Rotate:
    """A party's key is rotated; its process is started again with both."""

    party: str
    at: float


@dataclass(frozen=True)
class Revoke:
    """The issuer revokes a party."""

    party: str
    at: float


@dataclass(frozen=True)
class Shown:
    """For a while the coordinator shows a party something else than what is there. how: one of `LIES`."""

    party: str
    at: float
    seconds: float
    how: str


@dataclass(frozen=True)
class Fork:
    """From `at` on a second coordinator runs on a copy of the first one's disk, with the same key; it stops when all is
    calm. moves: who is shown what the second one publishes, from when to when."""

    party: str
    at: float
    moves: tuple[tuple[str, float, float], ...]

    @property
    def victims(self) -> set[str]:
        """Who is ever shown it."""
        return {name for name, _, _ in self.moves}


# What a coordinator, or its web server, does to one party: it keeps entries, shares and blobs back; it shows the
# checkpoint and the proposal of some moment for ever; it changes bytes; it takes answers and throws them away.
WITHHELD, OLD, CHANGED, IGNORED = "withheld", "old", "changed", "ignored"
LIES = (WITHHELD, OLD, CHANGED, IGNORED)
Fault = Kill | Cut | Jump | Full | OldCopy | OldCoordinator | Away | Rotate | Revoke | Shown | Fork


@dataclass(frozen=True)
class Scenario:
    """One history, but for what follows from it. links: the quality of each party's, until all is calm."""

    seed: int
    setting: Setting
    rounds: int
    links: dict[str, Quality] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    liars: dict[str, str] = field(default_factory=dict)
    calm: float = CALM

    @property
    def clients(self) -> list[str]:
        return [f"client-{number:02}" for number in range(self.setting.clients)]

    @property
    def trustees(self) -> list[str]:
        return [f"trustee-{number}" for number in range(self.setting.trustees)]

    def link(self, party: str) -> Quality:
        return self.links.get(party, PERFECT)

    @property
    def unreliable(self) -> set[str]:
        """Who may be of no use in the end: liars, who never comes back, who was set back to an old copy."""
        gone = {each.party for each in self.faults if isinstance(each, Away) and each.seconds is None}
        return gone | self.liars.keys() | {each.party for each in self.faults if isinstance(each, OldCopy | Revoke)}

    @property
    def deceived(self) -> set[str]:
        """Who is ever shown what a second coordinator publishes."""
        return {name for each in self.faults if isinstance(each, Fork) for name in each.victims}

    def lines(self) -> Iterator[str]:
        """In words."""
        setting = self.setting
        yield (
            f"seed {self.seed}: {setting.clients} clients, cohorts from {setting.min_cohort}; {setting.trustees} "
            f"trustees, {setting.threshold} needed, {setting.corrupt} may be corrupt; {self.rounds} rounds"
        )
        if setting.per_round is not None:
            yield f"{setting.per_round} clients are drawn for each round"
        yield from (f"{name} lies: {kind}" for name, kind in self.liars.items())
        yield from (f"{name}: {quality}" for name, quality in self.links.items() if quality != PERFECT)
        yield from (str(each) for each in self.faults)


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    rng = Random(f"scenario {seed}")
    setting = _setting(rng, seed)
    quiet = Scenario(seed, setting, rounds=rng.choice((1, 2, 2)))
    everybody = [HOST, *quiet.clients, *quiet.trustees]
    spare = _spare(rng, quiet)
    liars = _liars(rng, quiet, spare)
    links = {name: _quality(rng) for name in everybody[1:]}
    faults = [_fault(rng, rng.choice((HOST, HOST, *everybody))) for _ in range(rng.choice((0, 2, 3, 4, 6, 9)))]
    lasting = _lasting(rng, [name for name in spare if name not in liars])
    others = [name for name in spare if name not in liars and name not in {each.party for each in lasting}]
    faults += lasting + _of_its_kind(seed, replace(quiet, liars=liars), others)
    ordered = tuple(sorted(faults, key=lambda each: each.at))
    return _drawing(Scenario(seed, setting, quiet.rounds, links, ordered, liars))


def _drawing(scenario: Scenario) -> Scenario:
    """Of seven seeds one has clients drawn for each round, as many as leave a cohort without who may be of no use."""
    if scenario.seed % 7 != 5:
        return scenario
    least = scenario.setting.min_cohort + len(scenario.unreliable.intersection(scenario.clients))
    drawn = Random(f"draws {scenario.seed}").randint(least, scenario.setting.clients)
    return replace(scenario, setting=replace(scenario.setting, per_round=drawn))


def _of_its_kind(seed: int, quiet: Scenario, spare: list[str]) -> list[Fault]:
    """Of five seeds one has rotations and revocations, and one a coordinator that lies, or was set back."""
    rng = Random(f"kind {seed}")
    match seed % 5:
        case 2:
            return _changes(rng, quiet, spare)
        case 4:
            return _lies(rng, quiet)
    return []


def _changes(rng: Random, quiet: Scenario, spare: list[str]) -> list[Fault]:
    honest = [name for name in (*quiet.clients, *quiet.trustees) if name not in quiet.liars]
    rotated = rng.sample(honest, rng.choice((0, 1, 2, 3)))
    changes: list[Fault] = [Rotate(name, _moment(rng)) for name in rotated]
    if spare and (not changes or rng.random() < 0.6):
        changes.append(Revoke(rng.choice(spare), _moment(rng)))
    return changes


def _lies(rng: Random, quiet: Scenario) -> list[Fault]:
    everybody = [*quiet.clients, *quiet.trustees]
    kind = rng.choice(("shown", "shown", "fork", "fork", "old"))
    if kind == "old":
        at = round(rng.uniform(5.0, 150.0), 1)
        return [OldCoordinator(HOST, round(rng.uniform(0.0, at), 1), at, rng.random() < 0.6)]
    if kind == "fork":
        at = _moment(rng)
        victims = rng.sample(everybody, rng.randint(1, len(everybody)))
        begins = {name: round(at + rng.choice((0.0, rng.uniform(0.0, 60.0))), 1) for name in victims}
        moves = ((name, begin, round(begin + rng.uniform(5.0, 200.0), 1)) for name, begin in begins.items())
        return [Fork(HOST, at, tuple(moves))]
    names = (rng.choice(everybody) for _ in range(rng.randint(1, 4)))
    return [Shown(name, _moment(rng), round(rng.uniform(10.0, 200.0), 1), rng.choice(LIES)) for name in names]


def _moment(rng: Random) -> float:
    return round(rng.uniform(0.0, 120.0), 1)


def _setting(rng: Random, seed: int) -> Setting:
    clients, (trustees, threshold, corrupt) = rng.choice((2, 3, 3, 4)), rng.choice(((3, 2, 0), (3, 2, 0), (4, 3, 1)))
    return Setting(
        clients=clients,
        trustees=trustees,
        threshold=threshold,
        corrupt=corrupt,
        dimension=20,
        min_cohort=2,
        max_aborts=20,
        seed=seed,
    )


def _spare(rng: Random, quiet: Scenario) -> list[str]:
    """Parties without which rounds can close, in some order."""
    setting = quiet.setting
    trustees = rng.sample(quiet.trustees, setting.trustees - setting.threshold)
    return [*rng.sample(quiet.clients, setting.clients - setting.min_cohort), *trustees]


def _liars(rng: Random, quiet: Scenario, spare: list[str]) -> dict[str, str]:
    if rng.random() > 0.3 or not spare:
        return {}
    name = rng.choice(spare)
    if name in quiet.clients:
        return {name: rng.choice(LYING_CLIENTS)}
    return {name: rng.choice(LYING_TRUSTEES)} if quiet.setting.corrupt else {}


def _quality(rng: Random) -> Quality:
    if rng.random() < 0.3:
        return PERFECT

    def some(most: float) -> float:
        return round(rng.uniform(0.0, most), 2) if rng.random() < 0.5 else 0.0

    return Quality(some(0.3), some(0.3), some(0.5), some(0.5), some(0.5), some(20.0))


def _fault(rng: Random, party: str) -> Fault:
    at = round(rng.uniform(0.0, 120.0), 1)
    kind = rng.choice(("kill", "kill", "kill", "power", "power", "cut", "jump", "full", "away"))
    seconds = round(rng.choice((rng.uniform(0.0, 20.0), rng.uniform(20.0, 200.0))), 1)
    match kind:
        case "cut":
            return Cut(party, at, seconds)
        case "jump":
            return Jump(party, at, round(rng.choice((-1, 1)) * 10 ** rng.uniform(1.0, 4.6)))
        case "full":
            return Full(party, at, seconds)
        case "away":
            return Away(party, at, seconds)
    if party != HOST and rng.random() < 0.4:
        return Kill(party, at, None, kind == "power", seconds, rng.randint(1, 8))
    return Kill(party, at, rng.choice((rng.randint(0, 6), rng.randint(0, 60))), kind == "power", seconds)


def _lasting(rng: Random, spare: list[str]) -> list[Fault]:
    """What may take a party away for good."""
    if rng.random() > 0.35 or not spare:
        return []
    party, at = rng.choice(spare), round(rng.uniform(0.0, 150.0), 1)
    if rng.random() < 0.5:
        return [Away(party, at, None)]
    return [OldCopy(party, round(rng.uniform(0.0, at), 1), at)]
