"""The one schema of log records: which events there are, and which fields each has beside time, level and message.

Programs that read logs rest on it; docs/operations.md says it again in words. Nothing in a field is a secret. What is
measured on a client's updates is for the client's own log, and marked here; metrics count none of it.
"""

from __future__ import annotations

from collections.abc import Mapping

_SUMMARY = (
    "round", "closed", "submitted", "accepted", "excluded", "failed_checks", "failed", "counts", "trustees", "aborted",
    "metrics", "seconds", "bytes",
)  # fmt: skip
_QUANTILES = ("least", "median", "most")

EVENTS: Mapping[str, tuple[str, ...]] = {
    # of every command
    "note": (),
    "stage": (),
    "failed": (),
    # of rounds
    "round": _SUMMARY,
    "submitted": ("client", "bytes", "clipped"),
    "dropout": ("client", "round"),
    "repeated": ("round",),
    "metric-not-finite": ("round", "metric"),
    "tracker-failed": ("tracker", "round"),
    "clock-behind": ("seconds",),
    # of parties in processes of their own
    "asks": ("stage", "round", "parties"),
    "taken": ("party", "kind", "bytes", "awaited"),
    "refused": ("party", "file", "check"),
    "change-refused": ("file",),
    "answered": ("question", "round", "kind", "bytes"),
    "not-asked": ("round",),
    "lacks-key": ("public_key",),
    "refuses": ("check",),
    "dropped-out": ("abstained",),
    "looked": (),
    "unreachable": (),
    "reached": (),
    "software": ("party", "software"),
    # of nodes of Flower
    "node-answered": ("node", "party", "bytes"),
    "node-refused": ("node", "check"),
    "node-failed": ("node",),
}
# Of what a model and its training are: these stay with who trains.
ON_TRAINING: Mapping[str, tuple[str, ...]] = {
    "statistics": (),
    "weight-capped": ("client",),
    "trained": ("client", "round", "norm", "clip_norm", "used", "kept"),
    "update-zero": ("client",),
    "spending": ("client", "closed", "most"),
    "privacy": (),
    "unregistered": ("tensors",),
    "unchanged": ("round", "clients"),
    "measured-locally": ("round", "tensors"),
    "frozen-changed": ("round", "tensors"),
    "finished-differently": ("round",),
    "beyond-clip": ("round", "clip_norm", *_QUANTILES),
    "beyond-coordinate-bound": ("round", *_QUANTILES),
    "rounds-to-zero": ("round", "clients", "tensors", "largest"),
}
