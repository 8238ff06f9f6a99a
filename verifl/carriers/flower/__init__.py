"""Clients that are asked, and answer, through Flower; everybody else meets in the public directory.

Flower carries a signed proposal down and a client's answer up. The answer goes into the same inbox as one that came
over the exchange, so the coordinator's host and the trustees know nothing of Flower. Whatever a client believes it
reads from the published log.
"""
