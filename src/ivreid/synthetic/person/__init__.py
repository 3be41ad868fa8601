"""One picture of one person: pose, body, clothes, view."""
