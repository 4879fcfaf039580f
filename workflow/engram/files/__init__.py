"""What is written and read: HDF5 artifacts, and files whole or absent."""
