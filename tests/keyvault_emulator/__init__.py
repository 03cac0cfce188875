"""An emulator of Azure Key Vault for tests: see README.md."""
