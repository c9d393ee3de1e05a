"""The Encryption page."""
