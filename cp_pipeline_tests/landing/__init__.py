"""The landing: files on disk, their packing, the structure of a CSV."""
