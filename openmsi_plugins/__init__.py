"""The bundled plugins. They use the public API like anybody's, and have no privilege."""
