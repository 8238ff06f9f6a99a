"""What a configuration costs and allows, before anything runs."""
