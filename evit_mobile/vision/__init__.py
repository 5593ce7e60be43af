"""Images in, boxes and masks out."""
