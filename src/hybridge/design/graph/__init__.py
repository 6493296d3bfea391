"""Networks as graphs: what they cost, and where they can be cut."""
