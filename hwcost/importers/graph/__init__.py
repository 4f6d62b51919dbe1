"""What readers of graphs in files share: values and their axes, the operations found, branches, the end of the work."""
