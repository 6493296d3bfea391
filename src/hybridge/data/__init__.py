"""Labelled images, from wherever a user has them, as pixels a program reads."""
