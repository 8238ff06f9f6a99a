"""Keys, invitations and signatures: how a federation comes to its policy."""
