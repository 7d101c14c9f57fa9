"""The items of the checklist by theme: of the entity itself, of its connections, and of what reaches across."""
