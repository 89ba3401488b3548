"""The digest: what closed, what it came to, what waits for people; as files, a picture and a message sent once."""
