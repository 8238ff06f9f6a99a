"""Client, trustee and coordinator as state machines without IO (spec 8).

They take bytes and return bytes; what they must remember goes into a `protocols.stores.Store`, randomness and clocks
come in as arguments. `protocols.rounds.ledger` is what a log says so far, the same for all who follow it.
"""
