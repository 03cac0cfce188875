"""What an operator does by hand for the trial: a certificate for localhost, put into the vault by who may write."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from ansible_collections.coffre.stack.plugins.module_utils.catalogue import Generate
from ansible_collections.coffre.stack.plugins.module_utils.keyvault import client as keyvault
from ansible_collections.coffre.stack.plugins.module_utils.values import generate

NAME = "proxy-tls"
NAMES = ("localhost", "127.0.0.1")
DAYS = 90


def main() -> None:
    """Make a CA and a server's certificate where the vault has none, and say so; the CA's key is forgotten."""
    parser = argparse.ArgumentParser(prog="python -m tests.keyvault_emulator.trial", description=__doc__)
    parser.add_argument("keyvault", type=json.loads, help="stack_secrets_keyvault, as JSON")
    parser.add_argument("stack", help="the stack that owns it")
    parser.add_argument("ca", type=Path, help="where the CA's certificate is written")
    options = parser.parse_args()
    with keyvault.Vault(keyvault.settings(options.keyvault), write=True) as vault:
        if isinstance(vault.read({NAME: None})[NAME], keyvault.Value) and options.ca.exists():
            return
        authority = generate.authority("the trial", Generate("certificate_authority", names=NAMES, days=DAYS))
        server = generate.certificate(Generate("certificate", names=NAMES, days=DAYS), authority)
        options.ca.write_bytes(authority.certificate.public_bytes(Encoding.PEM))
        vault.put(
            NAME,
            server.pem().decode(),
            content_type="application/x-pem-file",
            tags={"coffre-owner": options.stack, "coffre-rotation": "replace"},
            expires=int(server.certificate.not_valid_after_utc.timestamp()),
        )
    print(f"put a certificate for {NAMES[0]} into the vault")


if __name__ == "__main__":
    main()
