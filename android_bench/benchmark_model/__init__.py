"""LiteRT's ``benchmark_model``: the published binaries, its output and the files that it writes."""
