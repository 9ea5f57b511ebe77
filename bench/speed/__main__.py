"""Command line: `python -m bench.speed` with the name of a comparison, such as `rbm`."""

import argparse
import sys

from bench.speed import (
    ais,
    dbm,
    finetune,
    gibbs,
    machine,
    maps,
    memmap,
    models,
    mpi,
    network,
    ratings,
    rbm,
    readme,
    serve,
    temporal,
)  # fmt: skip


def parse():
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--rounds", type=int, default=3, help="turns of each system (3)")
    shared.add_argument("--threads", type=int, default=machine.n_cores(), help="(all cores)")
    shared.add_argument("--quick", action="store_true", help="a tenth of the work")
    shared.add_argument(
        "--peer-python",
        default=sys.executable,
        help="interpreter that has torch and rbms (this one)",
    )
    command = commands.add_parser("rbm", help=rbm.__doc__, parents=[shared])
    command.add_argument("--rows", type=int, help="rows of data (60,000; quick: 6,000)")
    commands.add_parser("gibbs", help=gibbs.__doc__, parents=[shared])
    commands.add_parser("ais", help=ais.__doc__, parents=[shared])
    commands.add_parser("dbm", help=dbm.__doc__, parents=[shared])
    commands.add_parser("models", help=models.__doc__, parents=[shared])
    commands.add_parser("readme", help=readme.__doc__, parents=[shared])
    command = commands.add_parser("memmap", help=memmap.__doc__, parents=[shared])
    command.add_argument(
        "--rows", type=int, help="rows of data (2,000,000, with --bits 10,000,000; quick: a tenth)"
    )
    command.add_argument("--bits", action="store_true", help="rows packed as bits")
    command = commands.add_parser("ratings", help=ratings.__doc__, parents=[shared])
    command.add_argument(
        "--mapped", action="store_true", help="100 million drawn ratings in a mapped file"
    )
    command = commands.add_parser("serve", help=serve.__doc__, parents=[shared])
    command.add_argument("--seconds", type=float, help="of each load (8; quick: 2)")
    commands.add_parser("temporal", help=temporal.__doc__, parents=[shared])
    commands.add_parser("network", help=network.__doc__, parents=[shared])
    command = commands.add_parser("finetune", help=finetune.__doc__, parents=[shared])
    command.add_argument("--rows", type=int, help="rows of data (6,000; quick: 2,000)")
    command = commands.add_parser("maps", help=maps.__doc__, parents=[shared])
    command.add_argument("--rows", type=int, help="of the file (2,000,000; quick: a tenth)")
    command = commands.add_parser("mpi", help=mpi.__doc__, parents=[shared])
    command.add_argument("--stream", type=int, metavar="ROWS", help="a stream of so many rows")
    command.add_argument("--simulate", action="store_true", help="8 to 512 processes, by a model")
    command.add_argument("--minutes", type=float, default=20.0, help="of the stream (20)")
    command.add_argument("--rule", choices=("cd", "pcd"), help="of the table (both)")
    return parser.parse_args()


def main():
    """Run the comparison that the command line names."""
    arguments = parse()
    RUNS[arguments.command](arguments)


def _shared(arguments):
    """Return what a comparison with other implementations takes, whatever it compares."""
    return {
        "n_rounds": arguments.rounds, "n_threads": arguments.threads,
        "peer_python": arguments.peer_python,
    }  # fmt: skip


def _rbm(arguments):
    quick = arguments.quick
    rbm.run(
        n_rows=arguments.rows or (6_000 if quick else 60_000), n_epochs=3 if quick else 1,
        n_calls=500 if quick else 2_000, **_shared(arguments),
    )  # fmt: skip


def _gibbs(arguments):
    n_updates, n_sweeps = (20, 10) if arguments.quick else (200, 100)
    gibbs.run(n_updates=n_updates, n_sweeps=n_sweeps, **_shared(arguments))


def _ais(arguments):
    ais.run(n_betas=1_500 if arguments.quick else 14_500, **_shared(arguments))


def _dbm(arguments):
    dbm.run(n_steps=10 if arguments.quick else 50, **_shared(arguments))


def _models(arguments):
    n_rows, n_calls = (1_000, 50) if arguments.quick else (10_000, 500)
    models.run(
        n_rows=n_rows, n_calls=n_calls, n_rounds=arguments.rounds, n_threads=arguments.threads
    )


def _readme(arguments):
    readme.run(quick=arguments.quick, **_shared(arguments))


def _temporal(arguments):
    temporal.run(n_epochs=2 if arguments.quick else 5, **_shared(arguments))


def _finetune(arguments):
    n_rows, n_epochs = (2_000, 2) if arguments.quick else (6_000, 3)
    finetune.run(n_rows=arguments.rows or n_rows, n_epochs=n_epochs, **_shared(arguments))


def _network(arguments):
    network.run(n_rounds=arguments.rounds, n_threads=arguments.threads)


def _serve(arguments):
    seconds = arguments.seconds or (2.0 if arguments.quick else 8.0)
    serve.run(n_rounds=arguments.rounds, seconds=seconds)


def _memmap(arguments):
    n_rows = 10_000_000 if arguments.bits else 2_000_000
    memmap.run(
        n_rows=arguments.rows or (n_rows // 10 if arguments.quick else n_rows),
        n_rounds=arguments.rounds, n_threads=arguments.threads, bits=arguments.bits,
    )  # fmt: skip


def _maps(arguments):
    n_rows = arguments.rows or (200_000 if arguments.quick else 2_000_000)
    maps.run(n_rows=n_rows, n_workers=arguments.threads)


def _mpi(arguments):
    if arguments.simulate:
        mpi.simulate()
    elif arguments.stream:
        mpi.stream(n_rows=arguments.stream, minutes=arguments.minutes)
    else:
        mpi.run(
            n_updates=20 if arguments.quick else 100, n_rounds=arguments.rounds,
            rules=[arguments.rule] if arguments.rule else ["cd", "pcd"],
            peer_python=arguments.peer_python,
        )  # fmt: skip


def _ratings(arguments):
    if arguments.mapped:
        share = 0.1 if arguments.quick else 1.0
        ratings.run_mapped(share=share, n_threads=arguments.threads)
    else:
        n_rounds = 1 if arguments.quick else arguments.rounds
        ratings.run(n_rounds=n_rounds, n_threads=arguments.threads)


RUNS = {
    "rbm": _rbm, "gibbs": _gibbs, "ais": _ais, "dbm": _dbm, "temporal": _temporal,
    "finetune": _finetune, "network": _network, "serve": _serve, "memmap": _memmap,
    "maps": _maps, "models": _models, "mpi": _mpi, "ratings": _ratings, "readme": _readme,
}  # fmt: skip


if __name__ == "__main__":
    main()
