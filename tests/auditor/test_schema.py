"""The published schema is what reports are: each one fits, and has no field that the schema does not name."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from auditor import audit
from auditor.cli import main
from auditor.reports.results import Results
from auditor.reports.schema import events_schema, report_schema
from auditor.reports.text import events
from proofs.errors import Misuse
from tests.required import needs


def strict(schema: Any) -> Any:
    """The same, without fields that it does not name."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: strict(value) for name, value in schema.items()}
    return {**closed, "additionalProperties": False} if schema.get("type") == "object" else closed


GOLDEN = Path(__file__).parents[1] / "golden"
REPORT, EVENTS = (Draft202012Validator(strict(each())) for each in (report_schema, events_schema))


def require_fit(report: Results) -> None:
    assert [error.message for error in REPORT.iter_errors(json.loads(json.dumps(report.to_dict())))] == []
    for line in events(report):
        assert [error.message for error in EVENTS.iter_errors(json.loads(json.dumps(line)))] == []


def test_they_are_schemas() -> None:
    for schema in (report_schema(), events_schema()):
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", ["honest", "rejected", "noisy"])
@pytest.mark.parametrize("pinned", [True, False])
def test_golden_transcripts(name: str, pinned: bool) -> None:
    place = GOLDEN / name
    require_fit(audit(place / "transcript", place / "policy.cbor" if pinned else None))


def test_a_story(simulations) -> None:
    require_fit(audit(simulations("quiet").path, simulations("quiet").policy_data, explain="client-00"))
    place = GOLDEN / "rejected"
    require_fit(audit(place / "transcript", place / "policy.cbor", explain="coordinator"))


def test_damage_and_another_policy(simulations, copied) -> None:
    copy = copied("quiet")
    (copy / "policy.cbor").write_bytes(b"")
    (copy / "checkpoint").unlink()
    require_fit(audit(copy, None))
    require_fit(audit(GOLDEN / "honest" / "transcript", simulations("quiet").policy_data))


def test_what_is_no_report_does_not_fit(simulations) -> None:
    plain = audit(simulations("quiet").path, simulations("quiet").policy_data).to_dict()
    for change in ({"accepted": "yes"}, {"outcome": "fine"}, {"checks": [{}]}, {"policy_hash": "00"}, {"more": 1}):
        assert not REPORT.is_valid({**plain, **change})
    for field in plain:
        assert not REPORT.is_valid({name: value for name, value in plain.items() if name != field})
    assert Draft202012Validator(report_schema()).is_valid({**plain, "more": 1})  # a later version may add some


@pytest.mark.parametrize(("options", "schema"), [([], report_schema), (["--lines"], events_schema)])
def test_the_command_prints_them(options: list[str], schema: Any) -> None:
    result = CliRunner().invoke(main, ["schema", *options])
    assert (result.exit_code, json.loads(result.stdout)) == (0, schema())


def test_a_frame_without_pandas(simulations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(Misuse, match="pandas is not installed"):
        audit(simulations("quiet").path, simulations("quiet").policy_data).to_frame()


@pytest.mark.organisations
def test_a_frame(tmp_path: Path) -> None:
    needs("pandas")
    place = GOLDEN / "rejected"
    report = audit(place / "transcript", place / "policy.cbor")
    frame = report.to_frame()
    assert list(frame.index) == [check.id for check in report.checks]
    assert list(frame.columns) == ["title", "status", "acceptable", "checked", "reason", "findings", "first"]
    assert set(frame[frame.status == "fail"].index) == {"I9", "I10", "I11"}
    assert (frame.findings > 0).equals(frame["first"] != "")
    frame.to_csv(tmp_path / "report.csv")
