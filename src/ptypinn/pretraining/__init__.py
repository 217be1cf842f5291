"""Pre-training of the learned solver's network on simulations that are drawn while it learns."""
