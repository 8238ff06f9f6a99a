"""What a run keeps on disk, and how it is written and read back."""
