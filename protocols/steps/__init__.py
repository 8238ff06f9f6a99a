"""Server steps: from an aggregate to the next model, replayed bit for bit."""
