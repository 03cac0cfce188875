"""Azure Key Vault as it is asked."""
