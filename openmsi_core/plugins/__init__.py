"""What an author subclasses, how plugins are found, loaded and told what happens."""
