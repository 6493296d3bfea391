"""Pages that several programs write, each a section of its own."""

import re
from pathlib import Path


def put(page: Path, name: str, text: str) -> None:
    """Write the section called ``name``: in place of what it was, else after all others."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    section = f"{begin}\n{text.strip()}\n{end}\n"
    before = page.read_text() if page.exists() else ""
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}\n", re.DOTALL)
    after, times = pattern.subn(lambda _: section, before)
    page.write_text(after if times else before + ("\n" if before else "") + section)
