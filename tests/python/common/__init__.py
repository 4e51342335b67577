"""What several folders need: checks as sentences, clients, and readers of what is in an organization."""
