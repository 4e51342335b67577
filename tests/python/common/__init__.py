"""What several folders need: sentences as checks, clients, readers of what is in an organization."""
