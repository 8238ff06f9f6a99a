"""The numbered checks of spec 9. Each is a function of the case that fills in findings and says what it looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from auditor.case import Case
from auditor.checks.cohorts import check_cohorts
from auditor.checks.differences import check_differences
from auditor.checks.graph import check_graph
from auditor.checks.lineage import check_lineage
from auditor.checks.log import check_log
from auditor.checks.opening import check_openings
from auditor.checks.parameters import check_parameters
from auditor.checks.privacy import (
    check_accounting,
    check_cohort_sizes,
    check_schema,
    check_sensitivity,
    check_single_release,
    check_threshold,
)
from auditor.checks.proofs import check_proofs
from auditor.checks.replay import check_replay
from auditor.checks.roster import check_roster
from auditor.checks.rounds import check_rounds
from auditor.checks.submissions import check_submissions
from auditor.checks.verdicts import check_verdicts
from auditor.findings import Findings

CHECKS: Mapping[str, Callable[[Case, Findings], str]] = {
    "I1": check_log,
    "I2": check_parameters,
    "I3": check_roster,
    "I4": check_rounds,
    "I5": check_submissions,
    "I6": check_proofs,
    "I7": check_verdicts,
    "I8": check_cohorts,
    "I9": check_replay,
    "I10": check_openings,
    "I11": check_lineage,
    "I12": check_graph,
    "P1": check_cohort_sizes,
    "P2": check_single_release,
    "P3": check_threshold,
    "P4": check_sensitivity,
    "P5": check_accounting,
    "P6": check_differences,
    "P7": check_schema,
}
