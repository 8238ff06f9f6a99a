"""What a client has in the end: the final model, by the log, and a receipt for each of its submissions."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file

from proofs.errors import Rejected
from protocols.log.checkpoint import SignedNote, parse_note, render_note
from protocols.log.files import LocalDirectory
from protocols.log.tiles import CHECKPOINT, blob_path
from protocols.messages import RoundClosed
from protocols.receipts import decode_receipt, verify_receipt
from protocols.rounds.conductor import Stage
from tests.verifl.carriers.exchange.consortium import CLIENTS, CONFIG
from tests.verifl.carriers.exchange.stepping import Meeting, heard
from verifl.reports.logs import LoggedProgress
from verifl.storage.receipts import receipt_file

TWO_OF_THREE = CONFIG + "[limits]\nmin_cohort = 2\n"
MARKER = 1234.5677
# One client's data fails with what it holds in its words, and then it abstains with them.
TELLING = f"""
import torch
from verifl import Abstain

class Telling:
    def clients(self): return ["x", "y", "z"]
    def model(self): return torch.nn.Linear(3, 2)
    def data(self, client): return torch.full((8, 3), {MARKER})
    def train(self, model, client, data):
        self.turns = getattr(self, "turns", 0) + (client == "z")
        if client == "z" and self.turns == 1:
            raise ValueError(f"patient 4711 has {{data[0, 0]:.4f}}")
        if client == "z":
            raise Abstain(f"patient 4711 has {{data[0, 0]:.4f}}")
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
        model(data).square().mean().backward()
        optimizer.step()
    def evaluate(self, model): return {{"weight": float(model.weight.detach().sum())}}

def task():
    return Telling()
"""


def closed_models(meeting: Meeting) -> list[bytes]:
    return [message.model for message in meeting.messages() if isinstance(message, RoundClosed)]


def receipts(meeting: Meeting, client: str) -> list[int]:
    """The rounds for which a client has a receipt, which holds."""
    found = []
    for number in (1, 2):
        file = receipt_file(meeting.home(client), number)
        if file.exists():
            receipt = verify_receipt(meeting.pinned, decode_receipt(file.read_bytes()))
            assert (receipt.client, receipt.round, receipt.outcome) == (client, number, "closed")
            found.append(number)
    return found


def test_each_client_ends_with_the_model_and_its_receipts(tmp_path: Path) -> None:
    """One was there all the time, one was killed in the last round and comes back when all is over, one comes then."""
    meeting = Meeting(tmp_path, TWO_OF_THREE)
    meeting.convene()
    meeting.present.pop("z")
    meeting.until_asked(Stage.ACKNOWLEDGEMENTS, 2)
    meeting.present.pop("y")
    meeting.until_ended()
    for name in ("y", "z"):
        meeting.seat(name).look()
    model = meeting.training.load(meeting.server.model()).state_dict()
    last = closed_models(meeting)[-1]
    for name in CLIENTS:
        file = meeting.home(name).model
        assert {key: each.tolist() for key, each in load_file(file).items()} == {
            key: each.tolist() for key, each in model.items()
        }
        with safe_open(str(file), framework="pt") as found:
            assert (found.metadata()["round"], found.metadata()["model"]) == ("2", last.hex())
    assert [receipts(meeting, name) for name in CLIENTS] == [[1, 2], [1, 2], []]
    written = meeting.home("x").model.stat().st_mtime_ns
    meeting.seat("x").look()
    assert meeting.home("x").model.stat().st_mtime_ns == written


def test_a_look_reads_the_checkpoint_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a client is asked for something or not, has receipts and a model to keep or not."""
    meeting, read = Meeting(tmp_path, TWO_OF_THREE), list[str]()
    meeting.convene()
    client, original = meeting.present["x"], LocalDirectory.read

    def reading(self: LocalDirectory, path: str, limit: int) -> bytes:
        read.append(path)
        return original(self, path, limit)

    def looked() -> bool:
        read.clear()
        with monkeypatch.context() as patched:
            patched.setattr(LocalDirectory, "read", reading)
            answered = client.look()
        assert read.count(CHECKPOINT) == 1
        return answered

    meeting.until_asked(Stage.SUBMISSIONS)
    assert looked()
    meeting.until_asked(Stage.SUBMISSIONS, 2)  # it has looked, and has not seen the end of round 1
    assert looked()
    assert not looked()
    meeting.until_ended()
    assert not looked()
    assert receipts(meeting, "x") == [1, 2]


def test_a_log_that_was_rolled_back_leaves_a_client_with_its_model(tmp_path: Path) -> None:
    """Also one that was started again, and knows nothing of the log but what is in its files."""
    meeting = Meeting(tmp_path, TWO_OF_THREE)
    meeting.convene()
    meeting.until_asked(Stage.KEYS, 2)
    older, published = tmp_path / "older", meeting.public.transcript
    shutil.copytree(published, older)
    meeting.until_ended()
    meeting.seat("x").look()
    file = meeting.home("x").model
    newest = file.read_bytes()
    shutil.rmtree(published)
    shutil.copytree(older, published)
    with pytest.raises(Rejected, match="rollback: expected a log that goes on behind round 2"):
        meeting.seat("x").look()
    assert file.read_bytes() == newest
    file.unlink()  # then it has what it is shown
    meeting.seat("x").look()
    with safe_open(str(file), framework="pt") as found:
        assert found.metadata()["round"] == "1"


def test_no_model_is_taken_that_the_log_does_not_have(tmp_path: Path) -> None:
    """Another blob, or a checkpoint that too few trustees cosigned, leave the client with what it had."""
    meeting = Meeting(tmp_path)
    meeting.convene()
    client = meeting.present["x"]
    meeting.until_asked(Stage.KEYS, 2)  # round 1 is closed and published, and nobody has looked since
    first, file = closed_models(meeting)[0], meeting.home("x").model
    assert not file.exists()
    blob, checkpoint = meeting.public.transcript / blob_path(first), meeting.public.transcript / CHECKPOINT
    right, note = blob.read_bytes(), checkpoint.read_bytes()
    blob.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
    with pytest.raises(Rejected, match="blob-hash"):
        client.look()
    assert not file.exists()
    blob.write_bytes(right)
    parsed = parse_note(note)
    checkpoint.write_bytes(render_note(SignedNote(parsed.checkpoint, parsed.signatures[:2])))
    with pytest.raises(Rejected, match="checkpoint-quorum"):
        meeting.seat("x").look()
    assert not file.exists()
    checkpoint.write_bytes(note)
    meeting.seat("x").look()
    with safe_open(str(file), framework="pt") as found:
        assert found.metadata()["model"] == first.hex()
    meeting.close()


def test_nothing_of_a_clients_data_leaves_its_machine(tmp_path: Path) -> None:
    """Neither a value nor the words of an error are in what the coordinator and the public directory have."""
    meeting = Meeting(tmp_path, TWO_OF_THREE, TELLING, LoggedProgress())
    local: list[str] = []
    with heard(local):
        meeting.convene()
        meeting.until_ended()
    text = f"patient 4711 has {MARKER:.4f}"
    assert sum(text in line for line in local) == 2  # the search finds what there is: z's own machine says why
    assert len(closed_models(meeting)) == 2
    assert len(meeting.logged) > 20
    paths = [*meeting.public.path.rglob("*"), *meeting.home("coordinator").path.rglob("*")]
    found = b"\n".join(
        [path.read_bytes() for path in paths if path.is_file()] + [each.encode() for each in meeting.logged]
    )
    assert b'"event": "round"' in found
    for secret in (text.encode(), b"patient 4711", str(MARKER).encode(), *packed(MARKER)):
        assert secret not in found, secret


def packed(value: float) -> list[bytes]:
    """Twice in a row, as singles and as doubles, in both byte orders."""
    return [np.full(2, value, kind).tobytes() for kind in ("<f4", ">f4", "<f8", ">f8")]
