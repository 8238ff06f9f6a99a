"""Who says what to whom: messages, encryption, key sharing, rounds, server steps, the transcript log."""
