"""Findings are values: the place by entry, round, party, file and field, what was expected and what was found. Text and
JSON are made of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auditor import audit
from auditor.findings import Findings
from auditor.index import label
from auditor.reports.results import Kind, Place
from auditor.reports.text import to_json
from protocols.messages import KeyRotation, Revocation, RoundClosed, ShareAck
from tests.auditor.conftest import flipped


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (Place("policy"), "policy"),
        (Place("policy").at("threshold"), "policy, threshold"),
        (Place(file="checkpoint").at("size"), "checkpoint, size"),
        (Place(entry=7), "entry 7"),
        (Place(entry=7, type="aggregate", round=2), "entry 7 (aggregate, round 2)"),
        (
            Place(entry=7, type="share-ack", party="t", round=2).at("digest"),
            "entry 7 (share-ack by t, round 2), digest",
        ),
        (Place(entry=7, type="genesis"), "entry 7 (genesis)"),
        (Place("tile/0/000, or entry 3", entry=3, file="tile/0/000"), "tile/0/000, or entry 3"),
        (
            label(3, KeyRotation("f", bytes(32), "carol", bytes(32), bytes(32), bytes(64))),
            "entry 3 (key-rotation of carol)",
        ),
        (label(3, Revocation("f", bytes(32), "carol", "left")), "entry 3 (revocation of carol)"),
    ],
)
def test_places_in_words(place: Place, words: str) -> None:
    assert str(place) == words


def test_values_are_kept_and_shown_in_words() -> None:
    findings = Findings("I9", "replay of the summation")
    findings.expect(Place(entry=7).at("plaintext"), bytes(32), None)
    findings.expect(Place(entry=8).at("rounds"), 3, 4)
    (nothing, number) = findings.result("").findings
    assert (nothing.expected, nothing.found, nothing.texts) == (bytes(32), None, ("00" * 32, "nothing"))
    assert (number.expected, number.found, number.texts) == (3, 4, ("3", "4"))


def test_a_lie_about_an_entry_is_found_by_its_values(forge, tmp_path: Path) -> None:
    forged = forge("quiet")
    position = forged.find(RoundClosed)
    honest = forged.message(position).model
    forged.edit(position, model=forged.put(b"\0" * len(forged.blobs[honest])))
    report = audit(forged.write(tmp_path / "t"), forged.policy_data)
    (finding,) = report.check("I11").findings
    assert finding.place == Place(entry=position, type="round-closed", round=1, field="model")
    assert (finding.expected, finding.found) == (honest, forged.message(position).model)
    told = next(check for check in json.loads(to_json(report))["checks"] if check["id"] == "I11")["findings"][0]
    assert told == {
        "where": f"entry {position} (round-closed, round 1), model",
        "expected": honest.hex(),
        "found": forged.message(position).model.hex(),
        "kind": "rule-broken",
        "by": "coordinator",
        "entry": position,
        "round": 1,
        "type": "round-closed",
        "party": None,
        "file": None,
        "field": "model",
    }


def test_a_lie_about_a_party_names_it(forge, tmp_path: Path) -> None:
    forged = forge("quiet")
    position = forged.find(ShareAck)
    forged.edit(position, digest=bytes(32))
    report = audit(forged.write(tmp_path / "t"), forged.policy_data)
    trustee = forged.message(position).trustee
    place = Place(entry=position, type="share-ack", party=trustee, round=1, field="digest")
    assert place in [finding.place for finding in report.check("I8").findings]


def test_damage_to_a_file_names_it(copied, simulations, tmp_path: Path) -> None:
    path = copied("quiet")
    checkpoint = path / "checkpoint"
    checkpoint.write_bytes(flipped(checkpoint.read_bytes(), 0))
    findings = audit(path, simulations("quiet").policy_data).check("I1").findings
    assert {(each.place.file, each.kind) for each in findings} >= {("checkpoint", Kind.DAMAGED)}
