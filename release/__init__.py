"""The site of the documents, and the files of a release. Nothing of this ships in the plugin."""
