"""One step of differentially private SGD, readable as algorithm 1 of Abadi et al. 2016. Import the module you need."""
