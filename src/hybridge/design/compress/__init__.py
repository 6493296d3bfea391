"""Techniques that put a cheaper layer in the place of a layer (model tree, table II)."""
