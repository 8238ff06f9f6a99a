"""From the user's module to an integer update and back."""
