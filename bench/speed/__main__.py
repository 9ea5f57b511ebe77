"""Command line: `python -m bench.speed rbm`."""

import argparse
import sys

from bench.speed import machine, rbm


def main():
    """Parse the command line and run one comparison."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("rbm", help=rbm.__doc__)
    command.add_argument("--rows", type=int, help="rows of data (60,000; quick: 6,000)")
    command.add_argument("--rounds", type=int, default=3, help="turns of each system (3)")
    command.add_argument("--threads", type=int, default=machine.n_cores(), help="(all cores)")
    command.add_argument("--quick", action="store_true", help="a tenth of the rows")
    command.add_argument(
        "--peer-python",
        default=sys.executable,
        help="interpreter that has torch and rbms (this one)",
    )
    arguments = parser.parse_args()
    rbm.run(
        n_rows=arguments.rows or (6_000 if arguments.quick else 60_000),
        n_rounds=arguments.rounds,
        n_epochs=3 if arguments.quick else 1,
        n_calls=500 if arguments.quick else 2_000,
        n_threads=arguments.threads,
        peer_python=arguments.peer_python,
    )


if __name__ == "__main__":
    main()
