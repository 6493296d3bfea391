"""Selective query: base, router and global, fitted together."""
