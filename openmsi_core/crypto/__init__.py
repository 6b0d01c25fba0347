"""Encryption: the Sealer port's adapters."""
