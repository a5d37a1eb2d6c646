"""See the README of the repository."""
