"""What is true, and the site itself."""
