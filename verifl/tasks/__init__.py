"""What a federation trains: the `Task` protocol, two built-in tasks, and tasks from a user's own file."""
