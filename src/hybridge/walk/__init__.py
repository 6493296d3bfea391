"""What is decided at run time; no I/O, clock or thread."""
