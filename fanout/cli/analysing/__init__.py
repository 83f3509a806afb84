"""The work behind `fanout analytics`.

fit       the commands that fit, and their options
fitting   reads a journal, fits, and writes the file
"""
