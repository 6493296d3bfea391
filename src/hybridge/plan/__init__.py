"""What is written down: programs, plans, choosers, bundles, decisions."""
