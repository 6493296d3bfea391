"""From torch modules to programs."""
