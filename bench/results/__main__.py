"""Command line: `python -m bench.results rbm_mnist [--quick] [--write]`."""

import argparse
import sys

from bench.results import (
    autoencoder_faces,
    autoencoder_mnist,
    bouncing_balls,
    brackets,
    classify_mnist,
    completion_mnist,
    dbm_classify_mnist,
    dbm_mnist,
    dbm_mnist_3,
    dbm_objects,
    dbm_tap,
    dbn_mnist,
    defaults,
    documents_newsgroups,
    faces_gp,
    imputation,
    inference,
    mixed_columns,
    mob_mnist,
    mocap,
    music,
    nca_mnist,
    one_shot,
    ratings_jester,
    ratings_movielens1m,
    ratings_movielens100k,
    rbm_brackets,
    rbm_mnist,
    rbm_patches,
    rbm_precision,
    report,
    retrieval_newsgroups,
    reuters_autoencoder,
    samplers,
    semi_supervised_mnist,
    tempered_rbm,
)
from bench.results.store import Store

TABLES = {
    "rbm_mnist": rbm_mnist,
    "rbm_brackets": rbm_brackets,
    "brackets": brackets,
    "samplers": samplers,
    "inference": inference,
    "tempered_rbm": tempered_rbm,
    "dbm_tap": dbm_tap,
    "rbm_patches": rbm_patches,
    "rbm_precision": rbm_precision,
    "mixed_columns": mixed_columns,
    "mob_mnist": mob_mnist,
    "autoencoder_mnist": autoencoder_mnist,
    "autoencoder_faces": autoencoder_faces,
    "faces_gp": faces_gp,
    "one_shot": one_shot,
    "dbn_mnist": dbn_mnist,
    "dbm_mnist": dbm_mnist,
    "dbm_mnist_3": dbm_mnist_3,
    "dbm_objects": dbm_objects,
    "completion_mnist": completion_mnist,
    "imputation": imputation,
    "classify_mnist": classify_mnist,
    "dbm_classify_mnist": dbm_classify_mnist,
    "semi_supervised_mnist": semi_supervised_mnist,
    "nca_mnist": nca_mnist,
    "ratings_movielens1m": ratings_movielens1m,
    "ratings_movielens100k": ratings_movielens100k,
    "ratings_jester": ratings_jester,
    "defaults": defaults,
    "documents_newsgroups": documents_newsgroups,
    "retrieval_newsgroups": retrieval_newsgroups,
    "reuters_autoencoder": reuters_autoencoder,
    "music": music,
    "bouncing_balls": bouncing_balls,
    "mocap": mocap,
}


def main():
    """Parse the command line, make one table, print it."""
    parser = argparse.ArgumentParser(prog="python -m bench.results", description=__doc__)
    parser.add_argument("name", choices=TABLES)
    parser.add_argument("--quick", action="store_true", help="a short form, under 5 minutes")
    parser.add_argument(
        "--write", action="store_true", help="put the table into docs/results.md as well"
    )
    arguments = parser.parse_args()
    table = TABLES[arguments.name]
    store = Store(arguments.name + ("_quick" if arguments.quick else ""))
    print(*report.preamble(arguments.name, arguments.quick), sep="\n", flush=True)
    done = []
    for row in table.rows(store, arguments.quick):
        done.append(row)
        print(report.line(row), file=sys.stderr, flush=True)
    text = report.table(table.TITLE, table.COLUMNS, done, table.NOTES)
    print(text)
    if arguments.write:
        report.write(arguments.name, arguments.quick, text)
        report.keep_pictures(arguments.name, store.folder)


if __name__ == "__main__":
    main()
