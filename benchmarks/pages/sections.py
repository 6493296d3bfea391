"""A page to which several benchmarks write, each its own section."""

import re
from pathlib import Path


def put_section(page: Path, title: str, heading: str, text: str) -> None:
    """Write ``text`` under ``## heading`` of a page, in place of what stood there before."""
    content = page.read_text() if page.exists() else f"# {title}\n"
    section = f"## {heading}\n\n{text.strip()}\n"
    found = re.search(
        rf"^## {re.escape(heading)}\n.*?(?=^## |\Z)", content, re.DOTALL | re.MULTILINE
    )
    if found is None:
        content = f"{content.rstrip()}\n\n{section}"
    else:
        rest = content[found.end() :]
        content = content[: found.start()] + section + (f"\n{rest}" if rest else "")
    page.write_text(content)
