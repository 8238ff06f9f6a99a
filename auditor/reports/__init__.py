"""What an audit says: its results as values, and as text."""
