"""The small data sets that come with PrivLab; ``NOTICE`` says whose they are, ``make`` how the files were made."""
