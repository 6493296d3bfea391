"""``hybridge gateway``."""

import signal
from pathlib import Path
from typing import Annotated

import typer

from hybridge.cli.output import show_json
from hybridge.cli.trust import (
    CloudAuthority,
    Encrypts,
    Insecure,
    OwnCertificate,
    OwnKey,
    OwnToken,
    TrustedKeys,
    entry_of,
    transport_to,
)


def gateway(
    serial: Annotated[
        Path, typer.Argument(metavar="SERIAL", help="The serial port, such as /dev/ttyACM0.")
    ],
    cloud: Annotated[str, typer.Option(metavar="HOST:PORT", help="The server to ask.")],
    bundle: Annotated[
        Path, typer.Option(metavar="BUNDLE", help="The bundle whose cloud programs are asked.")
    ],
    baud: Annotated[int, typer.Option(help="Bits per second of the port.")] = 115_200,
    most: Annotated[
        int, typer.Option(help="Most asks under way at once; others are refused at once.")
    ] = 8,
    tls: Encrypts = False,
    tls_ca: CloudAuthority = None,
    tls_cert: OwnCertificate = None,
    tls_key: OwnKey = None,
    token_file: OwnToken = None,
    insecure: Insecure = False,
    trusted_key: TrustedKeys = None,
) -> None:
    """Carry what a microcontroller asks to the cloud, and back.

    It asks over a serial port. Speaks the framed protocol of docs/gateway.md, whose other end is
    the C code in hybridge/firmware. Prints one line of JSON once the port is open, and one of
    statistics when it is told to stop (SIGTERM or Ctrl-C). A port that is lost is opened again.
    While the cloud does not answer, devices are told so at once, and answer themselves.

    \b
    Examples:
      hybridge gateway /dev/ttyACM0 --cloud 127.0.0.1:8001 --bundle runs/demo/bundle
      hybridge gateway /dev/ttyUSB0 --baud 57600 --cloud cloud:8001 --tls-ca ca.pem \
--bundle runs/demo/bundle
    """
    from hybridge.plan.bundle import load_bundle
    from hybridge.runtime.clock import SystemClock
    from hybridge.runtime.gateway import Gateway
    from hybridge.runtime.port import SerialPort
    from hybridge.runtime.serial_answers import Answers, askable

    # The programs' names, hashes and signatures are needed, not their files.
    programs = askable(load_bundle(bundle, place="edge", trusted_keys=trusted_key or None).plan)
    entry = entry_of(tls, tls_ca, tls_cert, tls_key, token_file, insecure)
    clock = SystemClock()

    def open_port() -> SerialPort:
        port = SerialPort(serial, baud)
        if not told:
            named = {known.program.name: known.program.sha256 for known in programs}
            show_json({"event": "ready", "port": str(serial), "programs": named}, None)
            told.append(True)
        return port

    told: list[bool] = []
    transport = transport_to(cloud, entry)
    with Gateway(Answers(programs, transport, clock), clock, most) as bridge:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: bridge.stop())
        bridge.run(open_port)
        show_json({"event": "stopped", **bridge.statistics()}, None)
