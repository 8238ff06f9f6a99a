"""Handwritten digits, learned where they are."""
