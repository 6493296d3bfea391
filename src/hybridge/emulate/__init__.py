"""The virtual world: plans replayed over hours of link in seconds."""
