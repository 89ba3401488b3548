"""What an auditor takes along: one file that proves the books without the project."""
