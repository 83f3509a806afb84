"""The work behind `fanout analytics nbbo`: best prices of assets across venues, for people.

`command` has the options. `watch` follows services, and `journals` reads the past. For both,
`channels` chooses what is read, and `view` shows it. What the best prices are is computed by
`fanout.analytics.nbbo.nbbos`.
"""
