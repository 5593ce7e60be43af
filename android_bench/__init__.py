"""Devices that models are measured on: this machine, and whatever else ``device.KINDS`` lists."""
