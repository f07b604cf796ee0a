"""The log that a benchmark is about, and the options that name it."""

import argparse
import tempfile
from pathlib import Path

from models.engine.sequences import InteractionLog, load_log


def add_options(parser: argparse.ArgumentParser) -> None:
    """`--source`, read by the whole project, or `--log`, by torch and numpy alone."""
    parser.add_argument("--source", help="a log with user_id and item_id columns (default: generated shoppers)")
    parser.add_argument("--order-col", help="its column of order")
    parser.add_argument("--format", help="of the source, where it does not tell by itself")
    parser.add_argument("--log", metavar="FILE", help="a log of `benchmarks.bare pack` in its place")


def log_of(options: argparse.Namespace) -> InteractionLog:
    """The log that is named."""
    if options.log:
        return load_log(Path(options.log))
    from tasks.data_specs import Columns, PrepareSpec, SourceSpec
    from tasks.home import Home
    from tasks.ingest import ingest
    from tasks.sequences import export_log
    from tasks.sources.source import obtain_log

    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        columns = Columns(order=options.order_col) if options.source else Columns()
        source = SourceSpec(path=options.source, columns=columns, format=options.format)
        snapshot = ingest(obtain_log(source, home=home), PrepareSpec(), home=home)
        return load_log(export_log(snapshot, home=home))


def name_of(options: argparse.Namespace) -> str:
    """What the result calls it."""
    return str(options.log or options.source or "shoppers")
