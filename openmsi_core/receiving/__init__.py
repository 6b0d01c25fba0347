"""From records to whole files to outcomes that are durable: one poll loop, workers, checkpoints."""
