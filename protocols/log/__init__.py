"""The log of a federation, as static files (spec 3): Merkle tree, tiles, signed checkpoints, writer and reader."""
