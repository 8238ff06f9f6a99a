"""A policy as somebody pinned it: its bytes, its hash, and everything that follows from it (spec 8.1).

N ring degree, d dimension, C columns and R - 1 data rows of the table, t threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from proofs.curve import POINT_SIZE, SCALAR_SIZE
from proofs.errors import Rejected
from proofs.parameters import ArgumentParameters
from proofs.relations.norm import NORM_COMMITMENTS
from protocols import hpke, sharing
from protocols.envelopes import open_policy
from protocols.hashes import sha256
from protocols.identities import SIGNATURE_SIZE
from protocols.lattice.parameters import LatticeParameters
from protocols.noise import budget_of
from protocols.noise_trustees import noise_trustees
from protocols.parameters import argument_parameters, require_sound
from protocols.policy import Member, Policy, approvers
from protocols.privacy.budgets import Budget
from protocols.roster import check_roster
from protocols.steps.registry import server_rule
from protocols.weights import weight_of


@dataclass(frozen=True)
class PinnedPolicy:
    """One policy and what parties and auditors derive from it; `hash` is SHA-256 of the file's bytes `data`."""

    policy: Policy
    data: bytes
    hash: bytes

    @classmethod
    def open(cls, data: bytes) -> PinnedPolicy:
        """Decode, verify the issuer's signature, require every condition of spec 4.

        That these are the right bytes is for the caller to know. Raises Malformed, Rejected("signature"),
        Rejected("policy-<condition>"), Rejected("roster-..."), Rejected("public-key").
        """
        policy, _ = open_policy(data)
        require_sound(policy)
        check_roster(policy)
        return cls(policy, data, sha256(data))

    def require_own(self, federation: str, policy: bytes) -> None:
        """Accept what names this federation and this policy by its hash, or raise Rejected("federation"),
        ("policy-hash")."""
        if federation != self.policy.federation:
            raise Rejected("federation", self.policy.federation, federation)
        if policy != self.hash:
            raise Rejected("policy-hash", self.hash.hex(), policy.hex())

    @cached_property
    def argument(self) -> ArgumentParameters:
        """Parameters of the validity proof, of an update of weight 1; sizes are the same for every weight."""
        return argument_parameters(self.policy)

    def argument_of(self, stated: int | None) -> ArgumentParameters:
        """The same of an update that states this weight, or none; raises Misuse for one beyond the policy's."""
        return self.argument.weighing(weight_of(stated))

    @cached_property
    def lattice(self) -> LatticeParameters:
        """Parameters of the encryption."""
        return LatticeParameters.from_rule(self.policy.lattice)

    @cached_property
    def budget(self) -> Budget | None:
        """What each client may spend; None where the policy has no privacy budget."""
        return budget_of(self.policy)

    @cached_property
    def noise_trustees(self) -> frozenset[str]:
        """Members of the roster whose submissions are noise alone."""
        return noise_trustees(self.policy)

    @cached_property
    def _trustee_positions(self) -> dict[str, int]:
        return {member.id: position for position, member in enumerate(self.policy.trustees)}

    @cached_property
    def _client_positions(self) -> dict[str, int]:
        return {member.id: position for position, member in enumerate(self.policy.roster)}

    @cached_property
    def approvers(self) -> Mapping[str, Member]:
        """Whose approvals the policy demands, by id, in the order in which the log has them."""
        return {member.id: member for member in approvers(self.policy)}

    def trustee_key(self, trustee: str) -> bytes:
        """Ed25519 key of a trustee; raises Rejected("unknown-trustee")."""
        return self.policy.trustees[self.trustee_position(trustee)].public_key

    def trustee_position(self, trustee: str) -> int:
        """Position in the policy's list, from 0; raises Rejected("unknown-trustee")."""
        position = self._trustee_positions.get(trustee)
        if position is None:
            raise Rejected("unknown-trustee", "a trustee of the policy", trustee)
        return position

    def share_point(self, trustee: str) -> int:
        """Where a trustee's share is taken on the sharing polynomials: its position counted from 1 (spec 7.2)."""
        return self.trustee_position(trustee) + 1

    def client_key(self, client: str) -> bytes:
        """Ed25519 key of a client; raises Rejected("unknown-client")."""
        return self.policy.roster[self.client_position(client)].public_key

    def client_position(self, client: str) -> int:
        """Position in the roster, from 0; raises Rejected("unknown-client")."""
        position = self._client_positions.get(client)
        if position is None:
            raise Rejected("unknown-client", "a client of the roster", client)
        return position

    @property
    def cells(self) -> int:
        """Cells of the data rows: what is encrypted, (R - 1) C of them."""
        return self.argument.shape.data_rows * self.argument.shape.columns

    @property
    def secret_length(self) -> int:
        """Scalars that a client shares: its key, then the blinding of each data row."""
        return sharing.secret_length(self.lattice.degree, self.argument.shape.data_rows)

    @property
    def commitments_size(self) -> int:
        """Bytes of the blob Submission.commitments."""
        return self.argument.commitments_size(NORM_COMMITMENTS)

    @property
    def proof_size(self) -> int:
        """Bytes of the blob Submission.proof."""
        return self.argument.proof_size

    @property
    def ciphertext_size(self) -> int:
        """Bytes of the blobs Submission.ciphertext and Aggregate.ciphertext."""
        return self.lattice.ciphertext_size(self.cells)

    @property
    def share_commitments_size(self) -> int:
        """Bytes of the blob Submission.share_commitments."""
        return self.policy.threshold * POINT_SIZE

    @property
    def share_size(self) -> int:
        """Bytes of a share in clear, and of the blob Release.share: its values, then its blinding."""
        return sharing.share_size(self.secret_length)

    @property
    def sealed_share_size(self) -> int:
        """Bytes of the blob of an EncryptedShare."""
        return self.share_size + hpke.OVERHEAD

    @property
    def approvals_size(self) -> int:
        """Bytes of the blob Genesis.approvals: a signature for each party whose approval the policy demands."""
        return SIGNATURE_SIZE * len(self.approvers)

    @property
    def model_size(self) -> int:
        """Bytes of a model blob."""
        return self.policy.dimension * 8

    @property
    def key_size(self) -> int:
        """Bytes of the blob Aggregate.key."""
        return self.lattice.degree * 4

    @property
    def plaintext_size(self) -> int:
        """Bytes of the blob Aggregate.plaintext."""
        return self.published * 8

    @property
    def published(self) -> int:
        """Values of an opened sum: the coordinates, and the sum of the weights where these are hidden; with noise all
        cells, as the padding carries noise, too."""
        return self.cells if self.policy.noise is not None else self.argument.shape.dimension

    @property
    def blindings_size(self) -> int:
        """Bytes of the blob Aggregate.blindings."""
        return self.argument.shape.data_rows * SCALAR_SIZE

    @property
    def optimizer_size(self) -> int:
        """Bytes of an optimizer blob, 0 where the server rule keeps nothing."""
        return self.model_size * len(server_rule(self.policy.step.rule).moments)
