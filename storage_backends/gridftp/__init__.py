"""GridFTP, by the programs of Globus."""
