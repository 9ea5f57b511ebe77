"""Speed against other implementations of the same algorithm, measured in one run.

Every measurement happens in a fresh process (`fresh.py`), so that thread pools do not disturb each
other and peak memory belongs to one system. Systems take turns, A B C A B C, and are compared
within a round: what slows the machine for a while slows both sides of a ratio.

    python -m bench.speed rbm            # a few minutes
    python -m bench.speed rbm --quick    # about a minute, for a look
    python -m bench.speed gibbs          # PCD updates and Gibbs sweeps
    python -m bench.speed --help         # all comparisons
"""
