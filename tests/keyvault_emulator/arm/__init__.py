"""management.azure.com over the emulator's vaults, identities and rights."""
