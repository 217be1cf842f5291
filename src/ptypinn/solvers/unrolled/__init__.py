"""The unrolled solver: preconditioned steps on the likelihood of the counts, each round followed by a network."""
