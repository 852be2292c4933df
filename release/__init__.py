"""What is made for others: the site of the documents, and the files of a release. Nothing of it ships in the plugin."""
