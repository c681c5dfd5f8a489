"""What an operator sees in a terminal: a check-up and a live view.

``doctor`` is the check-up, ``top`` the live view, ``lazy`` a list of commands that imports none of
them. Invariant: everything here looks at a service from outside, over its ports, so it works on any
running instance and costs an idle one nothing. A service's command line adds the commands.
"""
