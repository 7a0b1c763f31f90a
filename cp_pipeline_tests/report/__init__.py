"""The study report, read as a browser reads it, and compared with the published file."""
