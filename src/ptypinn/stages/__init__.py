"""Stages: a configuration and data in, a typed result out."""
