"""Misbehaviour on demand: parties that lie with their own real keys, for `verifl run --inject KIND[:PARTY]`.

Nothing here is mocked. A lying client builds, proves and signs everything itself with the pieces of the real prover; a
lying server signs entries and checkpoints with the log's key; corrupt trustees cosign and release whatever it asks
for. The other parties are the honest state machines, unchanged. What each kind leads to is in `registry`, which the
table in docs/misbehaviour.md is made from.
"""
