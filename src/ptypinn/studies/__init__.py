"""Studies: many runs over scenarios, doses and seeds, and what they show together."""
