"""Whether what is sent to a host stays on this machine."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Return whether what is sent to ``host``, a name or an address, stays on this machine."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
