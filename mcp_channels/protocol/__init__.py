"""
The wire of the Model Context Protocol, in all five revisions.

No I/O, no tasks, no clock, no Django: text goes in, events and text come out.
"""
