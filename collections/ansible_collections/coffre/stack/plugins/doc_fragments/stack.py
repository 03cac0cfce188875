"""Options of several modules, each explained once: `coffre.stack.stack`, and parts such as `coffre.stack.stack.run`."""

from __future__ import annotations


class ModuleDocFragment:
    """Ansible finds a part by its name in capitals; DOCUMENTATION is what a module gets that names none."""

    DOCUMENTATION = r"""
options:
  stack:
    description: The stack's name, which is its Compose project.
    type: str
    required: true
"""

    ENGINE = r"""
options:
  engine:
    description: What runs the stack, V(compose) on this host, or V(swarm) on the nodes of which this is a manager.
    type: str
    choices: [compose, swarm]
    default: compose
"""

    CATALOGUE = r"""
options:
  catalogue:
    description: The secrets of the stack and the files composed of them; see docs/operations.md and docs/rotation.md.
    type: dict
    required: true
  compose_file:
    description: The stack's Compose file, as the lookup P(coffre.stack.compose_file#lookup) reads it.
    type: dict
    required: true
"""

    SOURCE = r"""
options:
  source:
    description:
      - Where values come from. V(demo) generates them on the host, V(file) reads an operator's directory, of which a
        rotation takes the new values, V(keyvault) reads an Azure Key Vault, where only the versions that changed are
        read again.
    type: str
    choices: [demo, file, keyvault]
    default: demo
  keyvault:
    description: The Key Vault, for the source V(keyvault), as C(stack_secrets_keyvault); see the role stack_secrets.
    type: dict
"""

    DUE = r"""
options:
  before_days:
    description: How many days before its end a secret is due, at most a quarter of its life.
    type: int
    default: 14
"""

    DIRECTORY = r"""
options:
  directory:
    description:
      - The operator's directory on the host, for the source V(file), root's with mode 0700; a file of mode 0400 or 0600
        per secret.
    type: path
  trailing_newline:
    description: What becomes of a trailing newline in the operator's text secrets.
    type: str
    choices: [refuse, strip]
    default: refuse
"""

    NOSWAP = r"""
options:
  require_noswap:
    description: Refuse a host that could swap the secrets to an unencrypted disk, instead of warning.
    type: bool
    default: false
"""

    SEAL = r"""
options:
  seal_key:
    description: What seals are bound to. V(auto) is the TPM and the host key where there is a TPM, else the host key.
    type: str
    choices: [auto, host, tpm2]
    default: auto
"""

    RUN = r"""
options:
  run:
    description: The name of this run in the audit trail. While a rotation is open, it must be the run that drives it.
    type: str
    required: true
  operator:
    description: Who runs it, for the audit trail.
    type: str
    required: true
"""

    LOOK = r"""
attributes:
  check_mode:
    description: It changes nothing in any mode.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""
