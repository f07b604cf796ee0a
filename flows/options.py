"""The command line's options."""

import argparse

from flows.argument_types import (
    Exported,
    data_set_name,
    list_of,
    memory_size,
    methods,
    not_blank,
    number,
    probability,
    raw_ids,
    whole,
    within,
)
from models.config import SELECTED_BY
from tasks.sources.formats import known_formats

ESTIMATORS = ("arm", "arm-per-token", "ar", "reinforce", "straight-through", "hard-concrete")


def add_run(parser: argparse.ArgumentParser) -> None:
    """The options of `run`."""
    add_source(parser)
    _add_noise(parser.add_argument_group("noise put in on purpose"))
    _add_filter(parser.add_argument_group("what every method is spared, of noise put in and of the log's own"))
    _add_models(parser.add_argument_group("models"))
    _add_training(parser.add_argument_group("training (defaults for generated shoppers in brackets)"))
    _add_execution(parser.add_argument_group("execution"))
    output = parser.add_argument_group("output")
    output.add_argument("--json", metavar="FILE", help="write figures, digests and the record of the run to FILE")


def add_source(parser: argparse.ArgumentParser) -> None:
    """The options of every command that reads a log."""
    source = parser.add_argument_group("data (without --source: the generated shoppers)")
    source.add_argument(
        "--source",
        type=not_blank,
        metavar="PATH",
        help="a CSV, TSV, JSON-lines (also .gz) or Parquet file, a quoted pattern of several, an address "
        "(http, https, s3), a data set that `rec-denoiser datasets` lists, or snapshot://NAME, one of `rec-denoiser "
        "snapshots` as it is",
    )
    source.add_argument(
        "--format",
        choices=known_formats(),
        metavar="FORMAT",
        help=f"how the file is laid out, of {', '.join(known_formats())} (default: recognised; else interactions: "
        "columns with the names below)",
    )
    source.add_argument("--user-col", metavar="NAME", help="column of user ids (default user_id)")
    source.add_argument("--item-col", metavar="NAME", help="column of item ids (default item_id)")
    source.add_argument("--time-col", metavar="NAME", help="column of times (default: the file's order counts)")
    source.add_argument("--order-col", metavar="NAME", help="column of numbers that order events, after time")
    source.add_argument("--rating-col", metavar="NAME", help="column of ratings, for --min-rating")
    source.add_argument(
        "--noise-col",
        metavar="NAME",
        help="column that names known noise, or marks it by 1, true or yes; empty, 0, false, no or genuine where there "
        "is none",
    )
    source.add_argument(
        "--dataset", type=data_set_name, metavar="NAME", help="name in runs and models (default: after the file)"
    )
    source.add_argument(
        "--memory",
        type=memory_size,
        action=Exported,
        metavar="SIZE",
        help="what DuckDB may take, such as 4GB; more goes to disk (default: $REC_DENOISER_MEMORY, or 80%% of all)",
    )
    _add_preparation(parser.add_argument_group("preparation"))


def add_audit(parser: argparse.ArgumentParser) -> None:
    """The options of `audit`."""
    add_source(parser)
    found = parser.add_argument_group("audit")
    found.add_argument(
        "--top",
        type=whole(1, most=10_000),
        metavar="N",
        help="most suspicious interactions, users and items told of (default 20)",
    )
    found.add_argument(
        "--clean-below",
        type=within(0.001, 1),
        metavar="P",
        help="write a snapshot without interactions whose probability of being genuine is less than P, too",
    )
    found.add_argument(
        "--gain-epochs",
        type=whole(1),
        metavar="N",
        help="with --clean-below: train SASRec on the log as it is and on the cleaned one, N epochs at most, and say "
        "what cleaning gains on validation",
    )
    found.add_argument("--json", metavar="FILE", help="write all that was found to FILE as well")


def add_recommend(parser: argparse.ArgumentParser) -> None:
    """The options of `recommend`."""
    wanted = parser.add_argument_group("what to recommend")
    wanted.add_argument(
        "--history",
        type=raw_ids,
        metavar="ID,ID",
        help="one user's item ids, oldest first; one that has a comma in double quotes (default: a log's users)",
    )
    wanted.add_argument("--k", type=whole(1), metavar="N", help="items for each user (default 10)")
    wanted.add_argument("--include-seen", action="store_true", help="offer items of the history too")
    _add_lists(wanted)
    wanted.add_argument("--alias", metavar="ALIAS", help="which version of the model (default champion)")
    add_source(parser)


def add_explain(parser: argparse.ArgumentParser) -> None:
    """The options of `explain`."""
    model = parser.add_argument_group("which model (default: the champion of the generated shoppers)")
    which = model.add_mutually_exclusive_group()
    which.add_argument("--model", metavar="NAME", help="a registered one: NAME, NAME@ALIAS or NAME/VERSION")
    which.add_argument("--run", metavar="RUN_ID", help="the MLflow run of a training, or the beginning of its id")
    which.add_argument("--dataset", type=data_set_name, metavar="NAME", help="the champion of this data set")
    answer = parser.add_argument_group("which answer")
    history = answer.add_mutually_exclusive_group(required=True)
    history.add_argument("--user", metavar="ID", help="that to a user of the log that the model was trained on")
    history.add_argument("--history", type=raw_ids, metavar="ID,ID", help="that to these items, oldest first")
    answer.add_argument("--k", type=whole(1), default=10, metavar="N", help="offered items (default 10)")
    _add_lists(answer)
    told = parser.add_argument_group("where it is told, beside the terminal")
    told.add_argument("--out", metavar="PAGE.html", help="a page with the attention as pictures, and two CSV files")
    told.add_argument("--json", metavar="FILE", help="all numbers")


def _add_lists(group: argparse._ArgumentGroup) -> None:
    """The options that say which items may be offered."""
    for name, which in (("only", "the items that alone may be offered"), ("exclude", "items that may not be offered")):
        one = group.add_mutually_exclusive_group()
        one.add_argument(f"--{name}", type=raw_ids, metavar="ID,ID", help=which)
        one.add_argument(
            f"--{name}-file", type=not_blank, metavar="FILE", help="the same, a text file of one id a line"
        )


def add_datasets(parser: argparse.ArgumentParser) -> None:
    """The options of `datasets`."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="all about this one (default: a table of all)")
    parser.add_argument("--fetch", action="store_true", help="fetch it from its owner, or see whether it has changed")


def add_ui(parser: argparse.ArgumentParser) -> None:
    """The options of `ui`."""
    parser.add_argument("which", choices=("mlflow", "prefect"), metavar="NAME", help="whose: mlflow or prefect")
    parser.add_argument(
        "--port", type=whole(1, most=65_535), metavar="N", help="default 5000 for mlflow, 4200 for prefect"
    )


def add_snapshots(parser: argparse.ArgumentParser) -> None:
    """The actions of `snapshots`, and their options."""
    parser.add_argument(
        "--forget-user",
        metavar="ID,ID",
        help="short for `forget`, where one clean snapshot has these users",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", help=argparse.SUPPRESS, prog=parser.prog)

    def action(name: str, usage: str, about: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, usage=f"%(prog)s {usage}", description=about)

    action(
        "list",
        "",
        "All snapshots: those with noise put in or filtered out stand under the clean one that they\nwere made from.",
    )
    show = action("show", "NAME [--json]", "All that a snapshot's manifest says, and who refers to it.")
    show.add_argument("name", metavar="NAME", help="a snapshot's name, or its beginning")
    show.add_argument("--json", action="store_true", help="as JSON")
    verify = action(
        "verify",
        "[NAME…]",
        "Read every byte and every row, and compare them with the manifest and the name.\n"
        "Exit status 1 where something is wrong.",
    )
    verify.add_argument("names", nargs="*", metavar="NAME", help="snapshots (default: all)")
    diff = action("diff", "A B", "What two snapshots say differently, by raw ids.")
    diff.add_argument("a", metavar="A", help="a snapshot's name, or its beginning")
    diff.add_argument("b", metavar="B", help="the same of the other")
    remove = action(
        "remove",
        "{NAME… | --unused} [--yes] [--force]",
        "Remove snapshots and what steps derived from them. One that a run, a model, scored\n"
        "users or another snapshot refer to stays.",
    )
    which = remove.add_mutually_exclusive_group(required=True)
    which.add_argument("names", nargs="*", default=[], metavar="NAME", help="snapshots")
    which.add_argument("--unused", action="store_true", help="all that nothing refers to")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    remove.add_argument("--force", action="store_true", help="also where something refers to them")
    forget = action(
        "forget",
        "NAME --user ID,ID",
        "Make a new snapshot without these users, and say what still knows them. The k-core\nis not applied again.",
    )
    forget.add_argument("name", metavar="NAME", help="a clean snapshot's name, or its beginning")
    forget.add_argument("--user", required=True, metavar="ID,ID", help="raw ids, exactly")


def add_rerun(parser: argparse.ArgumentParser) -> None:
    """The options of `rerun`."""
    _add_run_id(parser, "run", shown="RUN_ID")
    parser.add_argument(
        "--home",
        metavar="FOLDER",
        help="an empty or new folder that keeps the new weights and ranks (default: they are thrown away)",
    )


def add_register(parser: argparse.ArgumentParser) -> None:
    """The options of `register`."""
    _add_run_id(parser, "run", shown="RUN_ID")


def add_diff(parser: argparse.ArgumentParser) -> None:
    """The options of `diff`."""
    for run, other in (("a", "RUN_A"), ("b", "RUN_B")):
        _add_run_id(parser, run, shown=other)
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def add_study(parser: argparse.ArgumentParser) -> None:
    """The options of `study`."""
    _add_experiment(
        parser,
        what="study",
        parts="cells",
        settable="base.SETTING=VALUE, axes.SETTING=[VALUE, …], execution.SETTING=VALUE, name=NAME, reference=METHOD, "
        "include=[…], exclude=[…]",
        written="the result, less the points of its curves,",
    )


def add_tune(parser: argparse.ArgumentParser) -> None:
    """The options of `tune`."""
    _add_experiment(
        parser,
        what="search",
        parts="trials",
        settable="base.SETTING=VALUE, space.SETTING=[VALUE, …] or {low: …, high: …}, spaces.METHOD={…}, "
        "sampler.SETTING=VALUE, execution.SETTING=VALUE, name=NAME, methods=[…], trials=N, seeds=[…], metric=NAME",
        written="the search's result",
    )


def _add_experiment(parser: argparse.ArgumentParser, *, what: str, parts: str, settable: str, written: str) -> None:
    """The options of what a file describes and runs, a study or a search, which consists of `parts`."""
    parser.add_argument(
        "file",
        nargs="?",
        type=not_blank,
        metavar="FILE",
        help=f"a {what}'s file, or the name of a shipped one (default: list these)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help=f"print the {parts}, what is cached, and expected time and memory"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="A.B=C",
        help=f"set something over the file: {settable}; repeatable, values as in YAML",
    )
    parser.add_argument(
        "--side-by-side", type=whole(1), metavar="N", help="trainings at a time (default: as many as cores allow)"
    )
    parser.add_argument("--json", metavar="FILE", help=f"write {written} to FILE as well")


def _add_run_id(parser: argparse.ArgumentParser, name: str, *, shown: str) -> None:
    parser.add_argument(name, metavar=shown, help="the MLflow run of a training, or the beginning of its id")


def _add_preparation(group: argparse._ArgumentGroup) -> None:
    """The options that say how a log is prepared and split."""
    group.add_argument("--min-rating", type=number, metavar="X", help="drop events rated lower (default: none)")
    group.add_argument(
        "--duplicates",
        choices=("keep", "exact", "consecutive", "first", "last"),
        help="keep all of a user's events; drop those that repeat item and time, or the item just before; "
        "or keep only the first or the last with an item (default keep)",
    )
    group.add_argument(
        "--k-core", type=whole(0), metavar="K", help="drop users and items with fewer events, until none is left"
    )
    group.add_argument("--user-core", type=whole(0), metavar="K", help="the same for users alone (default 0)")
    group.add_argument("--item-core", type=whole(0), metavar="K", help="the same for items alone (default 0)")
    group.add_argument(
        "--split",
        choices=("leave-one-out", "sessions", "temporal", "users"),
        help="how training, validation and test are parted (default leave-one-out)",
    )
    group.add_argument(
        "--min-events", type=whole(3), metavar="N", help="leave-one-out: users with fewer are not ranked (default 3)"
    )
    group.add_argument(
        "--validation", type=number, metavar="R", help="other splits: share held out for validation (default 0.1)"
    )
    group.add_argument("--test", type=number, metavar="R", help="other splits: share held out for test (default 0.1)")
    group.add_argument(
        "--targets",
        choices=("first", "last", "every"),
        help="which held-out events temporal and users (which has no first) predict (default first; of users the last)",
    )
    group.add_argument(
        "--promotion",
        type=within(0, 0.5),
        metavar="R",
        help="share of validation's users whose targets decide on promotion instead (default 0.2)",
    )
    group.add_argument("--split-seed", type=whole(0), metavar="N", help="seed of the draws of users (default 0)")


def _add_noise(group: argparse._ArgumentGroup) -> None:
    """The options that say what noise is put in."""
    group.add_argument(
        "--noise", type=list_of(within(0, 0.5)), metavar="R,R", help="shares of noise, up to 0.5 (default 0,0.2)"
    )
    group.add_argument(
        "--noise-kind",
        choices=("replace", "popular", "insert", "delete", "swap", "burst", "sharing", "bots"),
        help="what the noise is (default replace)",
    )
    group.add_argument(
        "--noise-where",
        choices=("training", "histories", "both"),
        help="in what is trained on, in the histories that are ranked with, or both (default both)",
    )
    group.add_argument("--noise-seed", type=whole(0), metavar="N", help="seed of the noise (default 0)")


def _add_filter(group: argparse._ArgumentGroup) -> None:
    """The options that say what is left out of the log."""
    group.add_argument(
        "--filter",
        choices=("none", "co-occurrence", "own-score", "popularity"),
        help="the noise model that says which interactions are left out (default none)",
    )
    group.add_argument(
        "--filter-below",
        type=within(0.001, 1),
        metavar="P",
        help="those whose probability of being genuine is less than P (default 0.5)",
    )
    group.add_argument(
        "--filter-folds",
        type=whole(1, most=20),
        metavar="N",
        help="parts of users, each judged by what was learned of the others; 1: by the whole log (default 1)",
    )


def _add_models(group: argparse._ArgumentGroup) -> None:
    """The options that name methods and set their models."""
    group.add_argument(
        "--methods",
        type=methods,
        metavar="M,M",
        help="of popularity, markov-chain, v-sknn-window, sasrec-bce, sasrec-softmax, rec-denoiser, "
        "denoised-softmax, denoised-softmax-knn, sasrec-softmax-knn, v-sknn, rec-denoiser-published, contextual-gate, "
        "fixed-random-mask, head-drop, layer-drop, top-k, sparse-transformer, adaptively-sparse, sasrec-bpr, "
        "sasrec-gbce, sasrec-sampled-softmax, denoised-bce, denoised-bce-dropout, popularity-filter, "
        "own-score-filter, truncated-bce, truncated-softmax, co-teaching, s-ips, corrupted-inputs, event-dropout, "
        "bert4rec, tisasrec, sse-pt, cl4srec, fpmc, gru4rec, gru4rec-bpr-max, caser, fmlp-rec, fmlp-rec-causal, "
        "dreamrec, diffrec, t-diffrec (default the first eight), or a recommender of your own as FILE.py:NAME",
    )
    for option, kind, metavar, text in (
        ("length", whole(1), "N", "how many past events a model sees (default 50)"),
        ("dim", whole(1), "N", "width, a multiple of the heads (default 50)"),
        ("blocks", whole(1), "N", "attention blocks, of gru4rec recurrent layers, of fmlp-rec filters (default 2)"),
        ("heads", whole(1), "N", "attention heads of a block (default 2)"),
        ("dropout", probability, "P", "dropout probability (default 0.2)"),
        (
            "negatives",
            whole(1),
            "N",
            "sampled negatives, if any (default 1; caser 3; gbce, bpr-max, sampled 256)",
        ),
        ("gbce-t", within(0, 1), "T", "gbce: its calibration (default 0.75)"),
        ("bpr-max-penalty", number, "X", "bpr-max: weight of the negatives' squared scores (default 1)"),
        ("caser-order", whole(1), "N", "caser: how many last items it convolves (default 5)"),
        ("horizontal-filters", whole(1), "N", "caser: filters of each height (default 16)"),
        ("vertical-filters", whole(1), "N", "caser: filters over all of them (default 4)"),
        ("masked", within(0, 1), "R", "bert4rec: share of items masked in training (default 0.2)"),
        ("last-masked", within(0, 1), "R", "bert4rec: windows more with the last item masked (default 0.1)"),
        ("max-interval", whole(1), "N", "tisasrec: longest interval, in smallest gaps (default 256)"),
        ("user-dim", whole(1), "N", "sse-pt: width of user embeddings (default 50)"),
        ("keep-users", within(0, 1), "P", "sse-pt: probability that a user is kept in training (default 0.08)"),
        ("keep-items", within(0, 1), "P", "sse-pt: probability that an item is kept in training (default 0.9)"),
        ("contrast-temperature", number, "X", "cl4srec: what inner products of views are divided by (default 1)"),
        ("contrast-crop", within(0, 1), "R", "cl4srec: share of a window that a crop leaves (default 0.6)"),
        ("contrast-mask", within(0, 1), "R", "cl4srec: share of a window that is masked (default 0.3)"),
        ("contrast-reorder", within(0, 1), "R", "cl4srec: share of a window that is shuffled (default 0.6)"),
        ("diffusion-steps", whole(1), "N", "dreamrec: steps that add noise to items and take it away (default 500)"),
        ("guidance", number, "X", "dreamrec: how far histories draw what is generated (default 2)"),
        ("unconditional", probability, "P", "dreamrec: share of targets told without a history (default 0.1)"),
        ("generated", whole(0), "N", "dreamrec: vectors a history, averaged; 0 for the mean of all (default 1)"),
        ("neighbours", whole(1), "N", "v-sknn, …-knn: how many histories vote (default 500; v-sknn 100)"),
        ("neighbour-sample", whole(1), "N", "v-sknn, …-knn: of so many of an item, the most recent (default 1000)"),
        (
            "neighbour-window",
            whole(0),
            "N",
            "v-sknn-window, …-knn: for so many events after a shared item (default 10)",
        ),
        ("diffrec-hidden", whole(1), "N", "diffrec: width of its hidden layer (default 200)"),
        ("diffrec-steps", whole(1), "N", "diffrec: steps that add noise to a user's vector (default 5)"),
        ("diffrec-scale", number, "X", "diffrec: what the variance of that noise is scaled by (default 0.1)"),
        ("diffrec-least", number, "X", "diffrec: that variance after the first step, unscaled (default 0.001)"),
        ("diffrec-most", number, "X", "diffrec: that variance after the last step, unscaled (default 0.01)"),
        ("gate-logit", number, "X", "rec-denoiser: the gate's initial logit (default 2)"),
        ("gate-rate", number, "X", "rec-denoiser: the gate's learning rate over the network's (default 10)"),
        ("gate-rank", whole(1), "N", "contextual-gate: rank of its query-key term (default 8)"),
        ("gate-planted", number, "R", "contextual-gate: share of items planted to learn from (default 0.15)"),
        ("beta", number, "X", "rec-denoiser: weight of the gate's penalty (default 0.06)"),
        ("gamma", number, "X", "rec-denoiser: weight of the blocks' squared Jacobians (default 0)"),
        ("jacobian-every", whole(1), "N", "rec-denoiser: steps between those with that term (default 1)"),
        ("gate-keep", number, "P", "fixed-random-mask, head-drop, layer-drop: share that is kept (default 0.85)"),
        ("attention-top", whole(1), "N", "top-k: cells of a row (default 10)"),
        ("sparse-stride", whole(1), "N", "sparse-transformer: positions of a block (default 8)"),
        ("sparse-width", whole(1), "N", "sparse-transformer: its last ones, which all see (default 2)"),
        ("attention-alpha", number, "X", "adaptively-sparse: the first α of each head (default 1.5)"),
        ("reach", whole(1), "N", "denoised: events to each side that one is compared with (default 8)"),
        ("drop-below", number, "P", "denoised: events less likely genuine are left out, 0 for none (default 0.5)"),
        ("spare", whole(0), "N", "denoised: events more that are read of a history for that (default 25)"),
        ("target-power", number, "X", "denoised: a target's weight is its probability to this power (default 1)"),
        ("attention-power", number, "X", "denoised: so is what attention pays to an event (default 0)"),
        ("truncate", number, "R", "truncated, co-teaching: share of the largest losses left out (default 0.2)"),
        ("truncate-ramp", whole(1), "N", "truncated, co-teaching: steps in which it rises to that (default 500)"),
        ("propensity-floor", number, "P", "s-ips: least propensity that a loss is divided by (default 0.1)"),
    ):
        group.add_argument(f"--{option}", type=kind, metavar=metavar, help=text)
    for option, choices, text in (
        ("estimator", ESTIMATORS, "rec-denoiser: how gradients reach the gate (default arm-per-token)"),
        ("beta-on", ("sum", "mean"), "rec-denoiser: β weighs the keep-probabilities' sum, or mean (default mean)"),
        (
            "diffusion-schedule",
            ("linear", "cosine", "exponential"),
            "dreamrec: how much noise each step adds (default exponential)",
        ),
        ("diffrec-weights", ("equal", "snr"), "diffrec: what each step's loss weighs (default equal)"),
        ("passes", ("apart", "stacked"), "rec-denoiser: how ARM's two passes run (default apart)"),
    ):
        group.add_argument(f"--{option}", choices=choices, help=text)
    group.add_argument(
        "--planted",
        choices=("all", "uniform", "popular"),
        help="denoised: the kinds of noise that are planted to learn from (default all)",
    )
    group.add_argument(
        "--cleaning",
        choices=("threshold", "sampled"),
        help="denoised: what is trained on: all but what is below drop-below, or, drawn anew in each epoch, each event "
        "with its probability (default threshold; denoised-softmax sampled)",
    )
    group.add_argument(
        "--norm", choices=("authors", "pre", "post"), help="where the layer norms stand (default authors)"
    )


def _add_training(group: argparse._ArgumentGroup) -> None:
    """The options that say how models are trained."""
    group.add_argument("--seeds", type=list_of(whole(0)), metavar="N,N", help="one training each (default 1)")
    for option, kind, metavar, text in (
        ("epochs", whole(1), "N", "passes over the data, at most (default 100 [25])"),
        ("patience", whole(1), "N", "validations without a gain before it stops (default 10 [5])"),
        ("min-steps", whole(0), "N", "steps that it takes in any case (default 250 [250])"),
        ("validate-every", whole(1), "N", "epochs between validations (default 1 [1])"),
        ("batch-size", whole(1), "N", "users in a step (default 128 [64])"),
        ("learning-rate", number, "X", "of Adam (default 0.001 [0.002])"),
        ("weight-decay", number, "X", "decoupled, as AdamW's (default 0 [0])"),
        ("clip", number, "X", "longest gradient, 0 for any (default 0 [0])"),
        ("warmup", whole(0), "N", "steps in which the learning rate rises (default 0 [0])"),
        ("decay", within(0, 1), "R", "share of the learning rate lost by the last epoch (default 0 [0])"),
    ):
        group.add_argument(f"--{option}", type=kind, metavar=metavar, help=text)
    group.add_argument(
        "--select-by",
        choices=SELECTED_BY,
        metavar="METRIC",
        help="of validation, what chooses the weights and stops a training: ndcg_at_10 or hit_at_10 behind "
        "full_unseen. or sampled100. (default full_unseen.ndcg_at_10)",
    )
    group.add_argument(
        "--table-rows",
        choices=("auto", "all", "touched"),
        help="rows of the item table that a step updates; auto: touched ones from 100,000 items on (default auto)",
    )


def _add_execution(group: argparse._ArgumentGroup) -> None:
    """The options that say how trainings run."""
    group.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), help="auto takes a GPU where there is one (default auto)"
    )
    group.add_argument("--threads", type=whole(1), metavar="N", help="threads of each training (default 1)")
    group.add_argument(
        "--side-by-side", type=whole(1), metavar="N", help="trainings at a time (default: as many as cores allow)"
    )
    group.add_argument(
        "--compile",
        action="store_true",
        default=None,
        help="compile the steps of models that allow it, with torch.compile, which on a CPU needs a C++ compiler and "
        "is no faster (docs/speed.md)",
    )
    group.add_argument(
        "--precision",
        choices=("float32", "tf32", "bf16"),
        help="of products of matrices in training; tf32 on a GPU alone (default float32)",
    )
    group.add_argument("--time-limit", type=number, metavar="MIN", help="minutes for each training (default 240)")
    group.add_argument(
        "--evaluation-seed", type=whole(0), metavar="N", help="seed of the candidates ranked (default 0)"
    )
