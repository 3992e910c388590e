"""The decisions of the client, without IO, clock, chance or threads.

`Reading` is what arrives, `Sending` what leaves. Time comes in as `now`, chance as a number. Drivers do the rest.
"""
