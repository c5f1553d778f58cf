"""Files of a job: its directories, and what is staged in and out."""
