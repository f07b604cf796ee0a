"""Other libraries' SASRec beside ours: each in an environment of its own, on the same log, in turns."""
