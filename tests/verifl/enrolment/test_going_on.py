"""Going on: a federation that begins with the audited final model of another, by the commands."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from safetensors.torch import load_file

from auditor.cli import main as verifl_audit
from proofs.errors import Misuse
from protocols.continuation import LogEnd, link_to
from protocols.envelopes import open_policy
from protocols.noise import carried_budgets
from protocols.pinned import PinnedPolicy
from protocols.policy import PrivacyBudget
from tests.simulator import Setting, make_policy
from tests.verifl.office import TASK, Office, set_up
from tests.web import site
from verifl.commands import root as cli
from verifl.enrolment.former import FormerEnd


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Office:
    """A federation of one round, closed behind it."""
    office = set_up(tmp_path_factory.mktemp("first"))
    assert office.run(close=True) == 0
    return office


@pytest.fixture
def following(tmp_path: Path) -> Office:
    """The office of the next one, which has nothing signed yet."""
    return renamed(set_up(tmp_path), "second")


def renamed(office: Office, name: str) -> Office:
    roster = Path(office.path("roster.toml"))
    text = roster.read_text().replace('name = "my-federation"', f'name = "{name}"')
    roster.write_text(text.replace("fl.example.org/mine", f"fl.example.org/{name}"))
    for file in ("policy.cbor", "policy.initial.safetensors"):
        Path(office.path(file)).unlink()
    return office


def renamed_to(office: Office, name: str, origin: str | None = None) -> Office:
    """The third federation's office, where the federation has this name and origin."""
    roster = Path(office.path("roster.toml"))
    text = re.sub(r'(?m)^name = "[^"]*"', f'name = "{name}"', roster.read_text(), count=1)
    roster.write_text(re.sub(r"fl\.example\.org/[a-z-]*", f"fl.example.org/{origin or name}", text))
    return office


def going_on(office: Office, former: Office, *more: str) -> int:
    return office.sign(
        "--continues", former.path("out/transcript"), "--former-policy", former.path("policy.cbor"), *more
    )


def audited(office: Office, *former: Office) -> tuple[int, str]:
    """Status and report of an audit by the command."""
    previous = [word for each in former for word in ("--previous", each.path("out/transcript"))]
    arguments = [office.path("out/transcript"), "--policy", office.path("policy.cbor"), *previous]
    result = CliRunner().invoke(verifl_audit, arguments)
    return result.exit_code, result.stdout


def test_three_federations(
    first: Office, following: Office, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    assert going_on(following, first) == 0
    last = load_file(first.path("out/model.safetensors"))
    assert all(
        bool((value == last[name]).all())
        for name, value in load_file(following.path("policy.initial.safetensors")).items()
    )
    capsys.readouterr()
    assert cli.invoke(["policy", "show", following.path("policy.cbor")]) == 0
    assert "continues      my-federation, from its final model, at " in capsys.readouterr().out
    assert following.run() == 2  # the task's own model() is where the first federation began
    assert "--initial starts from a file" in capsys.readouterr().err
    assert following.run("--initial", following.path("policy.initial.safetensors"), close=True) == 0

    third = renamed(set_up(tmp_path_factory.mktemp("third")), "third")
    capsys.readouterr()
    assert going_on(third, following) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "the audit does not accept it (damaged: I14)" in line
    assert line.endswith("give that one and all before it by --previous, the last one first")
    line_before = "--previous", first.path("out/transcript")
    for name in ("my-federation", "second"):
        assert going_on(renamed_to(third, name), following, *line_before) == 2
        assert "--continues: previous-name: " in capsys.readouterr().err.splitlines()[-1]
    assert going_on(renamed_to(third, "third", origin="mine"), following, *line_before) == 2
    assert "--continues: previous-origin" in capsys.readouterr().err.splitlines()[-1]
    assert going_on(renamed_to(third, "third"), following, *line_before) == 0
    assert third.run("--initial", third.path("policy.initial.safetensors")) == 0
    status, report = audited(third, following, first)
    assert status == 0
    assert "I14  pass  continuation" in report
    status, report = audited(third, following)
    assert status == 0
    assert "the transcript of my-federation, which second continues, was not given by --previous" in report
    status, report = audited(third)
    assert status == 0
    assert "I14  skip " in report
    assert "was not given by --previous" in report
    status, report = audited(third, first)
    assert status == 1
    assert "previous-policy" in report


def other_model(former: Office, office: Office) -> list[str]:
    task = Path(office.path("task.py"))
    task.write_text(task.read_text().replace("Linear(2, 1)", "Linear(3, 1)"))
    return []


def other_layout(former: Office, office: Office) -> list[str]:
    task = Path(office.path("task.py"))
    task.write_text(task.read_text().replace("Linear(2, 1)", "Linear(1, 2, bias=False)").replace("TASK", TASK))
    text = task.read_text().replace("torch.nn.Linear(1, 2, bias=False)", "torch.nn.Sequential(torch.nn.Linear(2, 1))")
    task.write_text(text.replace("model.weight", "model[0].weight"))
    return []


def same_name(former: Office, office: Office) -> list[str]:
    roster = Path(office.path("roster.toml"))
    roster.write_text(roster.read_text().replace('name = "second"', 'name = "my-federation"'))
    return []


def same_origin(former: Office, office: Office) -> list[str]:
    roster = Path(office.path("roster.toml"))
    roster.write_text(roster.read_text().replace("fl.example.org/second", "fl.example.org/mine"))
    return []


def damaged(former: Office, office: Office) -> list[str]:
    copy = Path(shutil.copytree(former.path("out/transcript"), office.path("damaged")))
    blob = max(copy.glob("blobs/*/*"), key=lambda path: path.stat().st_size)
    blob.write_bytes(bytes(blob.stat().st_size))
    return ["--continues", str(copy)]


def of_another_policy(former: Office, office: Office) -> list[str]:
    shutil.copy(former.path("policy.cbor"), office.path("policy.cbor"))
    other = set_up(Path(office.path("keys")).parent / "other")
    return ["--former-policy", other.path("policy.cbor")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_model, "previous-dimension: expected a model of 3 coordinates, as the final one has, found 4"),
        (other_layout, "--continues: previous-layout: expected weight (1, 2), found 0.weight (1, 2)"),
        (same_name, "--continues: previous-name: "),
        (same_origin, "--continues: previous-origin"),
        (damaged, "the audit does not accept it (damaged: "),
        (lambda former, office: ["--continues", office.path("nowhere")], "could not be audited: "),
        (lambda former, office: ["--former-policy", office.path("roster.toml")], "could not be audited: "),
    ],
)
def test_what_cannot_be_taken_up(  # type: ignore[no-untyped-def]  # what changes it
    first: Office, following: Office, capsys: pytest.CaptureFixture[str], change, message: str
) -> None:
    more = change(first, following)
    assert going_on(following, first, *more) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not Path(following.path("policy.cbor")).exists()


def test_from_an_address(first: Office, following: Office, capsys: pytest.CaptureFixture[str]) -> None:
    """The same policy as from the directory, but for nothing; an address that leads nowhere is one line."""
    with site(first.folder / "out/transcript") as published:
        assert going_on(following, first, "--continues", published.url) == 0
    policy, _ = open_policy(Path(following.path("policy.cbor")).read_bytes())
    assert policy.previous is not None
    assert policy.previous.federation == "my-federation"
    Path(following.path("policy.cbor")).unlink()
    assert going_on(following, first, "--continues", published.url) == 2
    assert "could not be audited: " in capsys.readouterr().err.splitlines()[-1]
    packed = shutil.make_archive(following.path("packed"), "gztar", first.path("out/transcript"))
    assert going_on(following, first, "--continues", packed) == 2
    assert "a transcript is a directory: unpack it first" in capsys.readouterr().err.splitlines()[-1]


def test_one_without_the_other(following: Office, first: Office, capsys: pytest.CaptureFixture[str]) -> None:
    assert following.sign("--continues", first.path("out/transcript")) == 2
    assert "give both, or neither" in capsys.readouterr().err


def test_a_federation_whose_last_round_came_to_nothing(
    first: Office, following: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two of three clients stay away: the round is aborted, and might be repeated. Nor is a federation taken up that is
    between two rounds; the same command, started again, closes it there."""
    (tmp_path / "former").mkdir()
    former = set_up(tmp_path / "former")
    assert former.run() == 0
    assert "cannot be continued: previous-end: expected a federation that was closed" in refusal(
        following, former, capsys
    )
    untouched = Office(Path(shutil.copytree(former.folder, tmp_path / "untouched")))
    task = Path(former.path("task.py"))
    task.write_text(task.read_text().replace("model.weight.data += 0.01", "import verifl; raise verifl.Abstain()"))
    assert former.run("--resume", rounds=2) in (1, 2)
    assert "cannot be continued: previous-end: " in refusal(following, former, capsys)
    assert untouched.run("--resume", close=True) == 0
    assert "(continued); the final model is that of round 1" in capsys.readouterr().err
    assert untouched.run("--resume", close=True) == 0  # and once more changes nothing
    assert untouched.run("--resume", rounds=2) == 1
    assert "federation closed after 1 of 2 rounds: " in capsys.readouterr().err
    assert going_on(following, untouched) == 0


def refusal(following: Office, former: Office, capsys: pytest.CaptureFixture[str]) -> str:
    """The line by which it is refused to go on from this one."""
    capsys.readouterr()
    assert going_on(following, former) == 2
    return capsys.readouterr().err


def test_the_link_is_in_the_policy(first: Office, following: Office) -> None:
    assert going_on(following, first) == 0
    policy, _ = open_policy(Path(following.path("policy.cbor")).read_bytes())
    assert policy.previous is not None
    assert policy.previous.federation == "my-federation"


def test_under_a_budget_a_client_keeps_its_id() -> None:
    budget = PrivacyBudget(8_000_000, 10_000_000)
    data, model = make_policy(Setting(dimension=650, encryption_proof=True, max_rounds=4, budget=budget))
    pinned = PinnedPolicy.open(data)
    end = LogEnd(1, bytes(32), pinned.policy.initial_model, True, (), {"client-00": 2})
    former = FormerEnd(pinned, end, link_to(pinned.policy, pinned.hash, end), model)
    charged = replace(budget, former=carried_budgets(pinned.policy, end.charges))
    following = replace(pinned.policy, federation="next", origin="example.org/next", privacy_budget=charged)
    former.check(following)
    first, *others = following.roster
    expected = "--continues: previous-client: expected client-00, whose key in simulated it is, found client-99"
    with pytest.raises(Misuse, match=f"^{expected}$"):
        former.check(replace(following, roster=(*others, replace(first, id="client-99"))))
