"""The contract suite: what every plugin keeps to, inherited by a plugin's own tests."""
