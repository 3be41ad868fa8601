"""Several processes as one run: who they are, what they exchange, and what happens when one fails."""
