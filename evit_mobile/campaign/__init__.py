"""Measuring models and suites: options, candidates, and a suite on several devices at once."""

from evit_mobile.campaign.candidates import candidate_of, distinct_names
from evit_mobile.campaign.listener import Listener, Silence
from evit_mobile.campaign.options import BenchOptions, SuiteOptions
from evit_mobile.campaign.run import Campaign

__all__ = ["BenchOptions", "Campaign", "Listener", "Silence", "SuiteOptions", "candidate_of", "distinct_names"]
