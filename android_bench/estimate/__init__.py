"""The device ``estimate:NAME``: a phone core's latency from its instructions, a scheduling model and its caches,
without the phone.

An estimate is not a measurement. See docs/explanation/estimate.md for the method, its constants and its error.
"""
