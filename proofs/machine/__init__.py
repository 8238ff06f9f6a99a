"""What touches the computer: compiled kernels and their cache, threads, interrupts, streams."""
