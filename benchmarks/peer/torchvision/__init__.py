"""Stand-in for torchvision in CPU-only comparisons with ptychi: it holds the one name that ptychi imports.

Used only through PYTHONPATH in the peer environment that `setup.sh` builds; never in the package's own environment.
"""
