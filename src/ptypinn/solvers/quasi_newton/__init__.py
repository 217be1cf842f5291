"""The quasi-Newton solver: preconditioned L-BFGS steps on the likelihood of the counts."""
