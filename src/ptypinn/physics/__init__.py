"""Pure physics: tensors in, tensors out. Imports nothing of ours but `types`."""
