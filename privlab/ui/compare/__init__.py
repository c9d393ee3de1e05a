"""The parts of the page that compares runs: what is looked at (:mod:`.view`), the runs (:mod:`.library`), and its views."""
