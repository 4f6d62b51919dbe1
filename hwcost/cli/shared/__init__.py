"""What several commands share: option blocks, parsers of values, tables, files to write, networks, progress."""
