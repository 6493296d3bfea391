"""Searches: a problem, an algorithm that asks and is told, a budget."""
