"""The blobs of a transcript, by role: each check reads those of the roles that it declares, and no others."""

from __future__ import annotations

from dataclasses import dataclass, replace

from auditor.case import Case
from proofs.errors import Misuse
from protocols.blob_sizes import BLOB_ROLES, size_of
from protocols.blobs import message_blobs
from protocols.log.files import Missized
from protocols.messages import Message
from protocols.submissions import BlobSource


@dataclass(frozen=True)
class Blobs:
    """Those of these roles. Raises Misuse for another one."""

    case: Case
    roles: frozenset[str] = frozenset(BLOB_ROLES.names)

    def read(self, role: str, name: bytes) -> bytes:
        """A blob with SHA-256 `name`, of the size of its role; raises Damaged, Missized, each as "blob-..."."""
        if role not in self.roles:
            raise Misuse(f"blobs: {role} is none of the roles that were declared, {', '.join(sorted(self.roles))}")
        size = size_of(self.case.pinned, role)
        data = self.case.reader.blob(name, size)
        if len(data) != size:
            raise Missized("blob-size", f"{size} bytes", f"{len(data)} bytes")
        return data

    def of(self, message: Message) -> BlobSource:
        """What reads the blobs that a message names, as `read` does; its size is that of the role."""
        roles = {name: role for role, name in message_blobs(message)}
        return lambda name, _: self.read(roles[name], name)


class Roles:
    """The part of the blobs that a check declares: `blobs: Annotated[Blobs, Roles("share")]`."""

    def __init__(self, *names: str) -> None:
        """Raises Rejected("blob-role") for one that there is not."""
        self.names = frozenset(BLOB_ROLES.find(name).name for name in names)

    def of(self, blobs: Blobs) -> Blobs:
        """That part."""
        return replace(blobs, roles=self.names)
