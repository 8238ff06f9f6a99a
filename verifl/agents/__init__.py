"""One party each: what it keeps, and the clock and the device it works with."""
