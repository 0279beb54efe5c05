"""Edits as text, and pairs of pictures from text and from photos."""
