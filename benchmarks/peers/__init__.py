"""The same networks and weights through other converters, measured side by side."""
