"""Fine-tuning of the learned solver's network on a user's own scan."""
