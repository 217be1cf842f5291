"""Containers that cross stages, file formats, grouping and batching."""
