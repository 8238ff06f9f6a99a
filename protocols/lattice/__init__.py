"""Lattice encryption of updates: additively homomorphic over a cohort, opened by the sum of its keys (spec 6)."""
