"""Units of work over directories: they join data, networks, computation and storage, and know no command line.

A job is a frozen dataclass that can be sent to another process; running it returns a record.
"""
