"""The command line: one thin file for every command; what is heavy is imported inside them."""
