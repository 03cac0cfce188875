"""Run the emulator until it is told to stop."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from threading import Event

from .server import DOMAIN, OTHERS, start


def main() -> None:
    """Start, say where everything is, wait for SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m tests.keyvault_emulator", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="where ca.pem and server.pem are kept")
    parser.add_argument("--vault", action="append", metavar="NAME", help="a vault; may be repeated (coffre)")
    parser.add_argument("--no-vault", action="store_true", help="begin with an empty subscription")
    parser.add_argument("--address", default="127.0.0.1", help="the address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8443, help="the vaults' HTTPS port (8443)")
    parser.add_argument("--outside-port", type=int, default=8442, help="identity endpoint and control API (8442)")
    options = parser.parse_args()
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    vaults = [] if options.no_vault else options.vault or ["coffre"]
    with start(options.state, vaults, options.address, options.port, options.outside_port) as emulator:
        names = [f"{vault}.{DOMAIN}" for vault in vaults]
        print(f"hosts     {emulator.address} {' '.join([*names, *OTHERS])}")
        for vault in vaults:
            print(f"vault     {emulator.url(vault)}")
        print(f"trust     {emulator.ca}")
        for key, value in emulator.environment().items():
            print(f"identity  {key}={value}")
        print(f"control   {emulator.outside}/control", flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
