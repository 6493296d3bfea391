"""Bearer tokens: how a client says who it is, and how a server knows it.

No token is ever in a message, in a log or in what `repr` shows.
"""

import hashlib
import hmac
import re
from pathlib import Path

from hybridge.errors import ConfigError

#: The header that carries a token, and how its value begins.
AUTHORIZATION, SCHEME = "authorization", "Bearer "
#: Fewest characters of a token; most of a token and of a token file.
MIN_TOKEN, MAX_TOKEN, MAX_TOKEN_FILE = 16, 4096, 1 << 20

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class Tokens:
    """The tokens that a server takes. It keeps their hashes alone.

    Args:
        path: A token file, as `read_tokens` takes it.

    Raises `ConfigError` as `read_tokens` does.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = path
        self.renew()

    def renew(self) -> None:
        """Read the file again; raises `ConfigError` and keeps the old tokens."""
        self._digests = tuple({_digest(token) for token in read_tokens(self._path)})

    def __len__(self) -> int:
        return len(self._digests)

    def accepts(self, header: str) -> bool:
        """Return whether the value of a header ``authorization`` carries one of the tokens.

        Takes as long for each token, whichever fits and how much of it does.
        """
        scheme, token = header[: len(SCHEME)], header[len(SCHEME) : len(SCHEME) + MAX_TOKEN + 1]
        digest = _digest(token)
        fits = [hmac.compare_digest(digest, known) for known in self._digests]
        return any(fits) and scheme.lower() == SCHEME.lower()


def authorization(token: str) -> tuple[tuple[str, str], ...]:
    """Return the headers that carry ``token``; raises `ConfigError` where it is none."""
    check_token(token, "the token")
    return ((AUTHORIZATION, SCHEME + token),)


def read_tokens(path: Path | str) -> list[str]:
    """Return the tokens of a file: one on each line, but empty ones and those after ``#``.

    Raises `ConfigError` where it cannot be read, holds none, or a line is none; the message
    names the line, and never repeats it.
    """
    data = _read(path)
    if len(data) > MAX_TOKEN_FILE:
        raise ConfigError(f"{path}: expected a token file of at most {MAX_TOKEN_FILE} bytes")
    tokens = []
    for number, line in enumerate(data.decode(errors="replace").splitlines(), 1):
        token = line.strip()
        if token and not token.startswith("#"):
            check_token(token, f"{path}, line {number}")
            tokens.append(token)
    if not tokens:
        raise ConfigError(f"{path}: expected at least one token, each on its own line; got none")
    return tokens


def read_token(path: Path | str) -> str:
    """Return the one token of a client's file; raises `ConfigError` where it is another number."""
    tokens = read_tokens(path)
    if len(tokens) > 1:
        raise ConfigError(f"{path}: expected the one token to ask with, got {len(tokens)}")
    return tokens[0]


def check_token(token: str, what: str) -> None:
    """Raise `ConfigError` for what is no token; the message says ``what`` it was, not its text."""
    if not MIN_TOKEN <= len(token) <= MAX_TOKEN or not _TOKEN.fullmatch(token):
        raise ConfigError(
            f"{what}: expected {MIN_TOKEN} to {MAX_TOKEN} characters of A-Z a-z 0-9 - . _ ~ + /, "
            'and = at the end; make one with: python -c "import secrets; '
            'print(secrets.token_urlsafe(32))"'
        )


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()


def _read(path: Path | str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read token file {path}: {error.strerror or error}") from error
