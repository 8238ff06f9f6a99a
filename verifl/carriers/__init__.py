"""Ways to run a federation's parties; `in-process` is the default."""
