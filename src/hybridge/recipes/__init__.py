"""Recipes: where the wings meet."""
