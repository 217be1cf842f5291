"""Judging a reconstruction: what it is compared with, and the figures of merit."""
