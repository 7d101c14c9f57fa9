"""The screens of invoice proposals."""
