"""What the stage paper measures, and beside what.

recorded         the recording in a journal, and in the form of hftbacktest
quoting          calls of `quote`; also in a process of its own, in plain Python
replay           the journal through the paper exchange, with ten orders
rival            hftbacktest with the same orders, in an interpreter of its own
hftbacktest_run  the program that this interpreter runs
live             from the service's socket to the new quote of `fanout paper run`
lines            the process that reads its output
queues           a bounded queue between threads, and a pool of objects, beside what is there
"""
