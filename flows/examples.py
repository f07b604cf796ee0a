"""What the command line's help says besides the options: what there is, and examples of each command."""

OVERVIEW = """\
Which next-item recommender survives noisy data, by how much, and is the gain real?

Reads an interaction log, checks it, corrupts it on purpose, trains recommenders
with and without denoising, ranks them, and registers the best. Every run is
tracked and repeatable.

commands:
  run          the main job: from a log to a table and a registered model
  study        many experiments for one question, compared and reported
  tune         each method's best settings, on validation, with the same budget
  rerun        make a run again, and compare it bit by bit
  diff         what two runs say differently
  register     keep the model of a run: champion if it beats the present one
  ingest       make a checked snapshot of a log
  datasets     list public data sets; show or fetch one
  snapshots    list, show, verify, compare and remove snapshots; forget a person
  recommend    score users with a registered model
  audit        how noisy a log is, and which of its interactions look like noise
  explain      what one recommendation rests on, and what attention did
  deploy       put the flows of prefect.yaml on a Prefect server, with their schedules
  worker       run what that server has scheduled or was asked for
  ui           open MLflow's or Prefect's user interface

`rec-denoiser COMMAND --help` shows a command's options, with examples."""

ALL = """\
examples:
  rec-denoiser run
      the whole job on generated shoppers
  rec-denoiser run --source u.data --format movielens --noise 0,0.2
      the same on MovieLens-100K
  rec-denoiser recommend --history phone-017,charger-004
      what the best model offers after these items
  rec-denoiser ui mlflow
      compare models in the browser

State lives in var/ of the project, or in $REC_DENOISER_HOME; deleting that folder
is a full reset."""

RUN = """\
examples:
  rec-denoiser run
      every method on the generated shoppers, clean and with 20 % noise
  rec-denoiser run --source u.data --format movielens --noise 0,0.2 --seeds 1
      MovieLens-100K in its own format
  rec-denoiser run --source log.parquet --user-col who --item-col what \\
                   --order-col position --methods sasrec-softmax --epochs 40
      any CSV, TSV, JSON-lines or Parquet file with named columns
  rec-denoiser run --source log.csv --time-col when --noise 0 --json result.json
      the log as it is, with the figures written to a file"""

STUDY = """\
examples:
  rec-denoiser study
      the studies that come with the project
  rec-denoiser study quick --dry-run
      its cells, what of them is cached, and what they will take
  rec-denoiser study studies/figure-2.yaml --set base.source.path=log.csv \\
                     --set 'axes.seed=[1, 2]' --set name=figure-2-mine
      the same experiments on a log of one's own"""

TUNE = """\
examples:
  rec-denoiser tune
      the searches that come with the project
  rec-denoiser tune tune-shoppers --dry-run
      spaces, trials as far as they are known, and what they will take
  rec-denoiser tune studies/tune-shoppers.yaml --set trials=24 \\
                    --set base.source.path=log.csv --set name=tune-mine
      more trials, on a log of one's own
  rec-denoiser study var/studies/tune-mine/tuned.yaml
      the methods at the settings that were found, on test, with fresh seeds"""

RERUN = """\
examples:
  rec-denoiser rerun 3f9a1c2b
      the beginning of a training's run id, as MLflow shows it, is enough
  rec-denoiser rerun 3f9a1c2b --home /tmp/again
      the same, and the new weights and ranks are kept there"""

REGISTER = """\
examples:
  rec-denoiser register 3f9a1c2b
      a study's best, as its report and MLflow name it by run id
  rec-denoiser recommend --dataset ml-100k --history 50,181
      then, if it became the champion of that data set"""

DIFF = """\
examples:
  rec-denoiser diff 3f9a1c2b 77d0e5f1
      settings, data, code, packages, machine and metrics, with paired tests
  rec-denoiser diff 3f9a1c2b 77d0e5f1 --json > difference.json
      the same as JSON"""

INGEST = """\
examples:
  rec-denoiser ingest --source log.csv --user-col who --item-col what --time-col when
      a log with a header of its own
  rec-denoiser ingest --source ratings.dat --format movielens --k-core 5
      MovieLens-1M, without users and items of fewer than 5 events
  rec-denoiser ingest --source ml-1m
      the same log, fetched from its owner
  rec-denoiser ingest --source 'logs/2024-*.csv.gz'
      several files as one log, in the order of their names
  rec-denoiser ingest --source https://example.org/log.parquet
      a file elsewhere; also s3://bucket/log.parquet"""

DATASETS = """\
examples:
  rec-denoiser datasets
      what is known: size, terms, whether it is on this disk
  rec-denoiser datasets ml-1m
      all about one: owner, licence, what papers did with it
  rec-denoiser datasets ml-1m --fetch
      from its owner to the state folder, with its checksum"""

SNAPSHOTS = """\
actions (`rec-denoiser snapshots ACTION --help` shows an action's options):
  list         all of them, and who uses them; also without an action
  show         all that a manifest says, and who refers to the snapshot
  verify       compare every byte and every row with manifest and name
  diff         what two snapshots say differently
  remove       those named or unused, with what was derived from them
  forget       make a new snapshot without a person

examples:
  rec-denoiser snapshots
      what there is; the beginning of a name is enough to name one
  rec-denoiser snapshots diff e1f1 ec7d
      what noise has changed
  rec-denoiser snapshots remove --unused
      free the space of those that nothing refers to
  rec-denoiser snapshots --forget-user u00042
      a snapshot without this user, and the models that still know them"""

RECOMMEND = """\
examples:
  rec-denoiser recommend --history phone-017,charger-004 --k 5
      after `rec-denoiser run`: five items for one history
  rec-denoiser recommend --history phone-017 --only-file stock.txt --exclude phone-029
      of the items that the file lists, one id a line, all but one
  rec-denoiser recommend --source u.data --format movielens
      after `rec-denoiser run --source u.data --format movielens`: ten items for
      every user of the log, as a Parquet file"""

AUDIT = """\
examples:
  rec-denoiser audit
      the generated shoppers, whose noise is known
  rec-denoiser audit --source u.data --format movielens --top 50
      one's own log: the share of noise, and what looks most like it
  rec-denoiser audit --source log.csv --time-col when --clean-below 0.5
      the same, and a snapshot without what is more likely noise than not
  rec-denoiser audit --source log.csv --clean-below 0.5 --gain-epochs 20
      and what training on that snapshot gains on validation"""

EXPLAIN = """\
examples:
  rec-denoiser explain --user shopper-0042 --out why.html
      after `rec-denoiser run`: what the champion offers a shopper, which events
      carried it, and its attention before and after the gate as a page
  rec-denoiser explain --dataset u --user 196
      the champion of another data set, after `rec-denoiser run --source u.data`
  rec-denoiser explain --run 3f9a1c2b --history phone-017,charger-004
      the model that a run trained
  rec-denoiser explain --user shopper-0042 --only-file stock.txt
      what is offered of the items of a list alone, as by `recommend`"""

DEPLOY = """\
examples:
  rec-denoiser deploy
      to http://127.0.0.1:4200, which `rec-denoiser ui prefect` serves
  PREFECT_API_URL=http://prefect.example.org/api rec-denoiser deploy
      to another server"""

WORKER = """\
examples:
  rec-denoiser worker
      until Ctrl-C, beside `rec-denoiser ui prefect`"""

UI = """\
examples:
  rec-denoiser ui mlflow
      runs, metrics and models at http://127.0.0.1:5000
  rec-denoiser ui prefect --port 4300
      flow runs and schedules at http://127.0.0.1:4300"""
