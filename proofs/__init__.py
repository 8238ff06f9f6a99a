"""The mathematics: group, commitments, Fiat-Shamir, the short-vector argument. Knows nothing of federations."""

VERSION = "0.1.0"
