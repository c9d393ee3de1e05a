"""Models: torch-free facts (``catalogue``), DP-ready networks (``build``) and fixed features (``features``)."""
