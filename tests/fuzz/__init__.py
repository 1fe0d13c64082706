"""A campaign of random cases against fastconv: what no list of tests names beforehand.

Every part is a module with a function ``run(seed)``, which makes one case from the seed and raises if it finds a
defect. A module may also say

    MEMORY = 2         gigabytes that a case may take (address space beyond what the process has); None: no limit
    REPEATS = 40       how often a single case is run again, where chance has a say besides the seed
    notes() -> list    what cannot be tested here, and why

``driver`` gives the parts turns, each in a process of its own (``worker``), so that a crash or a hang is found, belongs
to a case, and does not end the campaign.
"""
