"""Renderers: a report as a terminal page, JSON and other forms."""
