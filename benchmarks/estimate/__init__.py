"""The estimated devices against published latencies, and what they say of the paper's networks."""
