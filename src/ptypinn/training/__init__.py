"""Training of networks: Lightning modules, callbacks, checkpoints and data."""
