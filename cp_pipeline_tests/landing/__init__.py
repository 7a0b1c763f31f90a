"""The landing: files on disk, decompression, CSV validation."""
