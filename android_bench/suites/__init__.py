"""The figures as suites of points, and what measures them."""
