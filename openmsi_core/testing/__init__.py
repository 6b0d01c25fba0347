"""The public test kit: a real Apache Kafka for tests."""
