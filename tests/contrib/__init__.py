"""The files of contrib/, judged by the programs that read them."""
