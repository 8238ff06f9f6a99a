"""Parties in processes of their own that meet in a public directory: what is asked there, and what is answered."""
