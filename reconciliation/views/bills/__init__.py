"""The screens of bills and payments."""
