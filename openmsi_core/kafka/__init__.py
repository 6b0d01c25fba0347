"""The only door to confluent_kafka: producer, consumer, checkpoint, admin, embedded brokers."""
