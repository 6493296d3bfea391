"""``python -m hybridge`` is ``hybridge``."""

from hybridge.cli.main import main

main()
