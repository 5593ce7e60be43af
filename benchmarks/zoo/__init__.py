"""One small member of every architecture family in timm, through three converters."""
