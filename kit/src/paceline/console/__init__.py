"""What an operator sees in a terminal: a load and its figures, a check-up, a live view.

``load`` and its neighbours are ``bench URL``; ``doctor`` is the check-up; ``top`` is the live view;
``lazy`` is a list of commands that imports none of them. Invariant: everything here looks at a
service from outside, over its ports, so it works on any running instance and costs an idle one
nothing. A service's command line adds the commands.
"""
