"""The public test kit: brokers."""
