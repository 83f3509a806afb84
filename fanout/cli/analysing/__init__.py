"""The work behind `fanout analytics`.

fit       the commands that fit, and their options
reading   the records of a journal
fitting   makes the fit, and writes and shows it
"""
