"""Histories of a federation whose parties meet over a bad network, on bad disks, by bad clocks: one seed, one history.

    python -m tests.network SEED        prints the history, and what is wrong with it

The host and the agents are those of the real processes. What is simulated is what is between and below them: time,
delivery, and what a disk keeps when its machine loses power.

    scheduler   time, and what happens when
    disks       machines: each step on disk is a moment to die at, and what was not synced may be lost
    delivery    requests that get lost, take time, arrive twice, or are answered by an old copy
    clocks      each machine's own time
    scenario    what goes wrong in the history of a seed
    members     trustees and clients as processes on machines
    serving     the coordinator's host as a process on a machine
    statements  what was ever said, and what nobody else may ever know
    judgement   what must hold of a history
    history     all of it together
"""
