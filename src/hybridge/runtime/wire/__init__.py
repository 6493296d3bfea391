"""What edge and cloud say to one another."""
