"""The relations of the argument, one file each (spec 5.1, 5.7): what is public of them, for prover and verifier alike.

A relation gives its tables, the numbers that state it, the inequalities that keep it sound, its challenges, and the
terms that these make of it: weights of squares, linear forms, and what their sum over the cube must be. Everything
else runs through `ArgumentParameters.relations` and asks. What only a prover can do for a relation is not here: filling
its tables (`proofs.witness`), and computing what it sends (`proofs.quotients`).

A new one is a file here, put in force by `ArgumentParameters.further`; with tables of its own, a function that fills
them. tests/proofs/test_new_relation.py has two of them.
"""
