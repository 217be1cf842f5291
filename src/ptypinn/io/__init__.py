"""Scan and reconstruction files: load, save, and one adapter per format."""
