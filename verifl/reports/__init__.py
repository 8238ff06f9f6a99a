"""What people read: plans, policies, invitations, logs."""
