"""Whether the statistics of results do what they say, on draws whose truth is known."""
