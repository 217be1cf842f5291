"""The iterative solver: preconditioned quasi-Newton steps on the likelihood of the counts."""
