"""How updates become the next model: what a configuration says, as the policy has it."""
