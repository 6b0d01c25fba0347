"""From a folder to records that the broker has acknowledged: scanner, settling, ledger, sender."""
