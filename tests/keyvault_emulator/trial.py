"""What an operator's CA would do for the trial: a certificate for localhost, put into the emulated vault."""

from __future__ import annotations

import argparse
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from ansible_collections.coffre.stack.plugins.module_utils.catalogue import Generate
from ansible_collections.coffre.stack.plugins.module_utils.values import generate

from .control import Control

NAMES = ("localhost", "127.0.0.1")
DAYS = 90


def main() -> None:
    """Make a CA and a server's certificate; the CA's key is forgotten."""
    parser = argparse.ArgumentParser(prog="python -m tests.keyvault_emulator.trial", description=__doc__)
    parser.add_argument("control", help="the emulator's control API")
    parser.add_argument("vault", help="the vault's name")
    parser.add_argument("stack", help="the stack that owns it")
    parser.add_argument("ca", type=Path, help="where the CA's certificate is written")
    options = parser.parse_args()
    authority = generate.authority("the trial", Generate("certificate_authority", names=NAMES, days=DAYS))
    server = generate.certificate(Generate("certificate", names=NAMES, days=DAYS), authority)
    control = Control(options.control)
    control.vault(options.vault, purge_protection=True)
    control.put(
        options.vault,
        "proxy-tls",
        server.pem().decode(),
        content_type="application/x-pem-file",
        tags={"coffre-owner": options.stack, "coffre-rotation": "replace"},
        exp=int(server.certificate.not_valid_after_utc.timestamp()),
    )
    options.ca.write_bytes(authority.certificate.public_bytes(Encoding.PEM))


if __name__ == "__main__":
    main()
