"""The command line: one thin file a command, and ``main`` which alone turns errors into exit codes."""
