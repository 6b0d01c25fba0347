"""Pure file work: cut, encode, decode, assemble, spool, name. No Kafka, no threads, no clock of its own."""
