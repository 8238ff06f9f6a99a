"""Who plays whom where injections are played: honest parties, and liars in the places that the injections give them.

Everybody has what is their own. What several of them know together, as a server and its colluders do, each has because
another gives it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from proofs.engines import get_engine
from proofs.errors import Misuse
from protocols.log.reader import TranscriptReader
from protocols.noise_trustees import training_clients
from protocols.pinned import PinnedPolicy
from protocols.receipts import Receipt
from protocols.rounds.client import Client, OpenRound
from protocols.rounds.exchange import SubmissionPackage
from protocols.rounds.trustee import Trustee
from verifl.adversaries import clients, coordinators, noise, provers, trustees, weights
from verifl.adversaries.forgeries import FORGED, FORGERIES, Declined, Forgery, Scene
from verifl.adversaries.injections import Injection
from verifl.adversaries.registry import Role
from verifl.adversaries.trustees import Colluding
from verifl.agents.accepting import accept_round
from verifl.agents.client import ClientAgent, TurnObserver, noise_alone, train_turn
from verifl.agents.clock import ONE_PROCESS, CosignatureClock
from verifl.agents.party import PublicLog
from verifl.agents.summation import summation_on
from verifl.agents.trustee import TrusteeAgent
from verifl.carriers.base import Parties, Session
from verifl.storage.party_directory import PartyDirectory
from verifl.storage.receipts import keep_receipt
from verifl.storage.stores import DirectoryStore
from verifl.training.local_training import LocalTraining
from verifl.training.own_tensors import LocalState
from verifl.training.update import EncodedUpdate

CLIENTS = provers.FORGERS | clients.LIARS | weights.LIARS | noise.LIARS
_CONFIDES = frozenset({"server-drops-client", "server-duplicates-client"})
_LEAVES_OUT = frozenset({"server-rejects-valid", "abort-and-retry", "sybil-swap"})
_HALVES = frozenset({"two-aborts"})


class LyingClientAgent:
    """A client that lies: `ClientAgent` otherwise. It sees what others have submitted, and sends what it likes."""

    def __init__(
        self, pinned: PinnedPolicy, client: clients.LyingClient, directory: PartyDirectory, training: LocalTraining
    ) -> None:
        self._pinned, self._client, self._directory, self._training = pinned, client, directory, training

    @property
    def name(self) -> str:
        """Its id in the policy."""
        return self._client.name

    @property
    def late(self) -> bool:
        """Whether it sends once the cohort is closed."""
        return self._client.late

    def answers(self, log: PublicLog, public: clients.PublicRound, observer: TurnObserver) -> list[SubmissionPackage]:
        """What it sends in this round: one package, none or several."""
        observer.stage(f"{self.name} trains")
        opened = accept_round(self._pinned, self._client, log)
        update = self._update(opened, observer)
        observer.stage(f"{self.name} proves and encrypts")
        return self._client.packages(opened, update.units, update.weight, public)

    def _update(self, opened: OpenRound, observer: TurnObserver) -> EncodedUpdate:
        policy = self._pinned.policy
        if self.name in self._pinned.noise_trustees:
            return noise_alone(policy)
        local = LocalState(DirectoryStore(self._directory.training))
        local.discard_after(opened.number - 1)
        return train_turn(self._training, policy, local, self.name, opened, observer, self._client.weight_on(opened))

    def intercept(self, package: SubmissionPackage) -> list[SubmissionPackage]:
        """What it sends before somebody else's submission, which it sees in transit, is logged."""
        return self._client.intercept(package)

    def keep_receipt(self, number: int, receipt: Receipt) -> None:
        """As an honest one does."""
        keep_receipt(self._directory, self._pinned, self.name, number, receipt)


class Cast:
    """Who plays whom: honest parties, and liars in the places that the injections give them."""

    def __init__(
        self, session: Session, parties: Parties, injections: Sequence[Injection], active: Callable[[], bool]
    ) -> None:
        """active: whether the injections have their effect now."""
        self.pinned, self._parties = session.pinned, parties
        self.blobs = TranscriptReader(session.directory.transcript).blob
        self._session, self._active, self._engine = session, active, get_engine("native")
        self.server = next((each for each in injections if each.kind.by is Role.SERVER), None)
        self._liars = {each.liar: each for each in injections if each.liar}
        policy = self.pinned.policy
        self._corrupt = {each.id for each in policy.trustees[: policy.corrupt]} if self.server else set()
        self.trustees = [self._trustee(member.id) for member in policy.trustees]
        self.clients: list[Client] = [self._client(member.id) for member in policy.roster]
        self.coordinator = self._coordinator()

    def forgery(self) -> Forgery:
        """What the server forges; nothing, where it does not."""
        name = self.server.kind.name if self.server else ""
        return FORGERIES.get(name, Forgery)(self._victim())

    def scene(self, refusals: list[Declined]) -> Scene:
        """The parties as a malicious server sees them."""
        session = self._session
        return Scene(
            self.pinned,
            self._parties.coordinator.keys[0],
            self.coordinator,
            self.clients,
            [each for each in self.trustees if isinstance(each, Colluding)],
            [each for each in self.trustees if not isinstance(each, Colluding)],
            {name: self._parties.trustees[name].keys[0] for name in self._corrupt},
            self.blobs,
            session.rand,
            session.directory.transcript,
            session.directory.path / FORGED,
            refusals,
            session.progress.note,
        )

    def asked_trustees(self) -> dict[str, TrusteeAgent]:
        """Each trustee's agent: a liar's is as any other."""
        clock = CosignatureClock()
        return {each.name: TrusteeAgent(each, clock) for each in self.trustees}

    def asked_clients(self) -> list[ClientAgent | LyingClientAgent]:
        """Each client's agent, those of liars last."""
        honest, lying = list[ClientAgent | LyingClientAgent](), list[ClientAgent | LyingClientAgent]()
        for client in self.clients:
            arguments = (self._parties.clients[client.name].directory, self._session.training)
            if isinstance(client, clients.LyingClient):
                lying.append(LyingClientAgent(self.pinned, client, *arguments))
            else:
                honest.append(ClientAgent(self.pinned, client, *arguments))
        return honest + lying

    def _victim(self) -> str:
        return self.server.party if self.server and self.server.parties else ""

    def _liar(self, name: str, role: Role) -> Injection | None:
        """The part of a party in this role; who adds noise as a trustee may have one as a client."""
        found = self._liars.get(name)
        return found if found is not None and found.kind.by is role else None

    def _client(self, name: str) -> Client:
        party = self._parties.clients[name]
        identity, store = party.keys[0], DirectoryStore(party.directory.store)
        liar = self._liar(name, Role.CLIENT)
        confides = self.server is not None and self.server.kind.name in _CONFIDES and name == self._victim()
        if liar is None and not confides:
            return Client(self.pinned, identity, name, store, self._engine, self._session.rand)
        play = CLIENTS[liar.kind.name] if liar else clients.Confidant
        victims = liar.parties if liar else ()
        return play(
            clients.LyingPart(
                self.pinned, identity, name, store, self._engine, self._session.rand, self._active, victims
            )
        )

    def _trustee(self, name: str) -> Trustee:
        party = self._parties.trustees[name]
        identity, store = party.keys[0], DirectoryStore(party.directory.store)
        liar = self._liar(name, Role.TRUSTEE)
        if liar is None and name not in self._corrupt:
            return Trustee(self.pinned, identity, name, store, self._engine, self._session.rand, ONE_PROCESS)
        play = trustees.LIARS[liar.kind.name] if liar else Colluding
        return play(self.pinned, identity, name, store, self._engine, self._session.rand, self._active)

    def _coordinator(self) -> coordinators.LyingCoordinator:
        name, session = self.server.kind.name if self.server else "", self._session
        policy, victim = self.pinned.policy, self._victim()
        training = training_clients(policy)
        if name in _LEAVES_OUT and len(training) - 1 < policy.min_cohort:
            raise Misuse(f"inject: {name} needs {policy.min_cohort + 1} clients, found {len(training)}")
        if name in _HALVES and len(training) <= 2 * policy.min_cohort:
            raise Misuse(f"inject: {name} needs {2 * policy.min_cohort + 1} clients, found {len(training)}")
        if name == "server-ignores-weights":
            weights.require_weights(self.pinned, name)
        others = [member.id for member in training if member.id != victim]
        confidants = [each for each in self.clients if isinstance(each, clients.Confidant)]
        part = coordinators.ServerPart(
            self.pinned,
            self._parties.coordinator.keys[0],
            DirectoryStore(self._parties.coordinator.directory.store),
            self._engine,
            summation_on(session.device),
            self.blobs,
            session.rand,
            self._active,
            victim,
            others[-1] if name == "sybil-swap" else "",
            lambda: confidants[0].secrets if confidants else None,
        )
        return coordinators.LIARS.get(name, coordinators.LyingCoordinator)(part)
