"""What published sums tell about one client."""
